//! One call of the walk: an operation with what fills it in, by somebody, and the answer that is due.

use omniroute_testkit::admin::Admin;
use omniroute_testkit::gateway::Gateway;
use omniroute_testkit::http::{Request, Response};
use serde_json::Value;

use super::area::Area;
use crate::common::KEY;

/// Who calls.
#[derive(Debug, Clone)]
enum Caller {
    /// A signed-in administrator, or for what is a client's a client with the service key.
    Usual,
    /// Somebody with this key.
    Key(String),
    /// Nobody.
    Stranger,
}

/// A call under way.
#[must_use = "a call asks when it is told what is due"]
pub struct Call<'a> {
    area: &'a Area,
    /// `METHOD /path` as written in the list of operations.
    operation: &'static str,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    caller: Caller,
    gateway: &'a Gateway,
    admin: &'a Admin,
}

impl<'a> Call<'a> {
    pub(super) fn new(area: &'a Area, operation: &'static str) -> Self {
        let path = operation.split_once(' ').expect("a method and a path").1.to_owned();
        Self {
            area,
            operation,
            path,
            query: String::new(),
            headers: Vec::new(),
            body: None,
            caller: Caller::Usual,
            gateway: &area.site.gateway,
            admin: &area.site.admin,
        }
    }

    /// To another gateway than the area's own.
    pub fn to(mut self, gateway: &'a Gateway) -> Self {
        self.gateway = gateway;
        self
    }

    /// To another gateway, by somebody who is signed in there.
    pub fn within(mut self, gateway: &'a Gateway, admin: &'a Admin) -> Self {
        (self.gateway, self.admin) = (gateway, admin);
        self
    }

    /// With this for the next parameter of the path.
    pub fn at(mut self, value: &str) -> Self {
        let (start, end) = self.path.find('{').zip(self.path.find('}')).expect("a parameter in the path");
        self.path.replace_range(start..=end, value);
        self
    }

    /// With this behind the question mark.
    pub fn query(mut self, query: &str) -> Self {
        self.query = format!("?{query}");
        self
    }

    /// With a JSON body.
    pub fn json(self, body: Value) -> Self {
        self.header("Content-Type", "application/json").bytes(body.to_string())
    }

    /// With any body.
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// By somebody with this key.
    pub fn by(mut self, key: &str) -> Self {
        self.caller = Caller::Key(key.to_owned());
        self
    }

    /// By nobody.
    pub fn by_a_stranger(mut self) -> Self {
        self.caller = Caller::Stranger;
        self
    }

    /// Ask. The answer must have this status and be as described; its JSON, or null.
    pub async fn says(self, status: u16) -> Value {
        let answer = self.answers(status).await;
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// The same with head and body.
    pub async fn answers(self, status: u16) -> Response {
        let answer = self.ask().await;
        self.area.heard(self.operation, status, &answer, || {
            let body = self.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            format!("{} ({}{}) {}", self.operation, self.path, self.query, &body[..body.len().min(300)])
        });
        answer
    }

    async fn ask(&self) -> Response {
        let method = self.operation.split(' ').next().unwrap_or_default();
        let mut request = Request::new(method, &format!("{}{}", self.path, self.query));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        match &self.caller {
            Caller::Stranger => self.gateway.ask(&request).await,
            Caller::Key(key) => self.gateway.ask(&request.key(key)).await,
            Caller::Usual if self.area.is_for_clients(self.operation) => self.gateway.ask(&request.key(KEY)).await,
            Caller::Usual => self.admin.send(request).await,
        }
    }
}
