//! An area under way: its gateway, what was seen of each operation, what was wrong.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Debug;

use omniroute_testkit::gateway::Builder;
use omniroute_testkit::http::Response;
use serde_json::{Value, json};

use super::call::Call;
use super::description::Description;
use super::doors::of_the_door;
use super::operations;
use crate::common::Site;
use crate::common::engine::{Engine, Schema};

/// What every client's call can meet whatever is asked; the fault matrix has a test for each.
const OF_EVERY_CLIENT: &[u16] = &[429, 500, 502, 504, 529];
/// When the database or the gateway itself is away; it has tests of its own.
const AWAY: u16 = 503;
/// What only the other database says.
const ONLY_POSTGRES: u16 = 501;

/// An area under way. What is wrong is collected, so that one run tells all of it.
pub struct Area {
    pub site: Site,
    pub engine: Engine,
    name: &'static str,
    description: Description,
    seen: RefCell<BTreeSet<(String, u16)>>,
    wrong: RefCell<Vec<String>>,
    /// Dropped after the gateway that uses it.
    _schema: Option<Schema>,
}

impl Area {
    /// Start a gateway on a new database, or nothing (loudly) where there is none of that kind.
    pub async fn open(name: &'static str, engine: Engine, builder: Builder) -> Option<Self> {
        let (builder, schema) = engine.fresh(builder)?;
        let site = Site::open(builder).await;
        let description = Description::of(&site.admin).await;
        let (seen, wrong) = (RefCell::default(), RefCell::default());
        Some(Self { site, engine, name, description, seen, wrong, _schema: schema })
    }

    /// Begin a call of `METHOD /path`.
    pub fn call(&self, operation: &'static str) -> Call<'_> {
        Call::new(self, operation)
    }

    /// Ask this model for an answer, which must have this status.
    pub async fn asks(&self, model: &str, status: u16) {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "hello"}]});
        self.call("POST /v1/chat/completions").json(body).says(status).await;
    }

    /// Note that something is not as it has to be.
    pub fn expect<T: PartialEq + Debug>(&self, what: &str, found: T, due: T) {
        if found != due {
            self.wrong.borrow_mut().push(format!("{what}: {found:?}, due was {due:?}"));
        }
    }

    /// Note that something is not so.
    pub fn must(&self, what: &str, holds: bool, shown: impl Debug) {
        if !holds {
            self.wrong.borrow_mut().push(format!("{what}: {shown:?}"));
        }
    }

    /// Whether it is a client's operation.
    pub(super) fn is_for_clients(&self, operation: &str) -> bool {
        self.description.is_for_clients(&described(operation))
    }

    /// Hold an answer against what was due and what is described.
    pub(super) fn heard(&self, operation: &str, due: u16, answer: &Response, call: impl Fn() -> String) {
        let operation = described(operation);
        if answer.status() != due {
            let text: String = answer.text().chars().take(600).collect();
            self.wrong.borrow_mut().push(format!("{} answered {}, due was {due}: {text}", call(), answer.status()));
        }
        if let Some(complaint) = self.description.complaint(&operation, answer) {
            self.wrong.borrow_mut().push(format!("{}, {}: {complaint}", call(), answer.status()));
        }
        self.seen.borrow_mut().insert((operation, answer.status()));
    }

    /// The end: nothing was wrong, and every status that is described was seen.
    ///
    /// # Panics
    /// With all that was wrong.
    pub fn close(self) {
        let mut wrong = self.wrong.take();
        for operation in operations::walked().filter(|operation| operation.area == self.name) {
            let missing: Vec<_> =
                self.due(&operation.described).difference(&self.statuses(&operation.described)).copied().collect();
            if !missing.is_empty() {
                wrong.push(format!("{} never said {missing:?}, which is described", operation.name));
            }
        }
        assert!(wrong.is_empty(), "{} on {:?}:\n{}", self.name, self.engine, wrong.join("\n"));
    }

    /// The statuses of an operation that its area has to see.
    fn due(&self, operation: &str) -> BTreeSet<u16> {
        let mut due = self.description.statuses(operation);
        let clients: &[u16] = if self.is_for_clients(operation) { OF_EVERY_CLIENT } else { &[] };
        due.retain(|status| *status != AWAY && !clients.contains(status));
        if self.engine == Engine::Sqlite {
            due.remove(&ONLY_POSTGRES);
        } else if due.contains(&ONLY_POSTGRES) {
            // What such an operation takes and gives is told by the other database.
            due = BTreeSet::from([ONLY_POSTGRES]);
        }
        &due - &of_the_door(&self.description, operation)
    }

    fn statuses(&self, operation: &str) -> BTreeSet<u16> {
        let seen = self.seen.borrow();
        seen.iter().filter(|(of, _)| of == operation).map(|(_, status)| *status).collect()
    }
}

/// The operation as the description has it.
fn described(operation: &str) -> String {
    let found = operations::all().into_iter().find(|known| known.name == operation);
    found.map_or_else(|| operation.to_owned(), |known| known.described)
}

/// The text of a value, empty where it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
