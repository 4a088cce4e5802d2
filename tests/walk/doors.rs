//! What every operation has at its door: who may come in, and which bodies are read at all.

use std::collections::BTreeSet;

use omniroute_testkit::http::{Connection, Request};
use serde_json::json;

use super::description::Description;
use super::operations::{self, Operation};
use crate::common::engine::Engine;
use crate::common::{KEY, Site, calm, soon};

/// The statuses of an operation that are told at its door, before anybody reads what it is about.
pub fn of_the_door(description: &Description, operation: &str) -> BTreeSet<u16> {
    let mut told = BTreeSet::from([408, 413, 415]);
    if !description.is_public(operation) {
        told.extend([401, 403]);
        // Two different keys in one request; who takes something has worse to say.
        told.extend((!description.listens(operation)).then_some(400));
    }
    &told & &description.statuses(operation)
}

/// Everybody who comes to a door.
struct Visitors {
    engine: Engine,
    site: Site,
    description: Description,
    /// A client's key.
    client: String,
    /// A key that manages and calls no models.
    robot: String,
}

impl Visitors {
    async fn come(engine: Engine) -> Option<(Self, impl Sized)> {
        let (builder, schema) = engine.fresh(calm())?;
        let site = Site::open(builder).await;
        let description = Description::of(&site.admin).await;
        let client = site.admin.create_key("client").await.key;
        let robot = site.admin.create_key_with(&json!({"name": "robot", "scopes": ["manage"]})).await.key;
        Some((Self { engine, site, description, client, robot }, schema))
    }

    /// What is wrong at this door.
    async fn knock(&self, operation: &Operation) -> Vec<String> {
        let of = |status: u16| of_the_door(&self.description, &operation.described).contains(&status);
        let mut wrong = Vec::new();
        if of(401) {
            let outsider =
                if self.description.is_for_clients(&operation.described) { &self.robot } else { &self.client };
            let conflicting = ask(operation).key(outsider).header("x-api-key", "sk-another");
            wrong.extend(self.told(operation, 401, ask(operation)).await);
            wrong.extend(self.told(operation, 403, ask(operation).key(outsider)).await);
            wrong.extend(self.told(operation, 400, conflicting).await);
        }
        let inside = || ask(operation).header("Content-Type", "application/json").key(self.insider(operation));
        if of(413) {
            wrong.extend(self.told(operation, 413, inside().declared(1 << 40)).await);
            wrong.extend(self.told(operation, 415, inside().header("Content-Encoding", "gzip").body("x")).await);
        }
        wrong
    }

    /// What is wrong where a body is promised and never comes.
    async fn dawdle(&self, operation: &Operation) -> Option<String> {
        let is_said = of_the_door(&self.description, &operation.described).contains(&408);
        let slow = ask(operation).header("Content-Type", "application/json").key(self.insider(operation)).declared(100);
        if is_said { self.told(operation, 408, slow).await } else { None }
    }

    fn insider(&self, operation: &Operation) -> &str {
        if self.description.is_for_clients(&operation.described) { KEY } else { &self.robot }
    }

    /// Whether this request gets this status, as described.
    async fn told(&self, operation: &Operation, due: u16, request: Request) -> Option<String> {
        let mut connection = Connection::open(self.site.gateway.addr).await.expect("a connection");
        let asked = soon(&format!("{due} of {}", operation.name), connection.ask(&request)).await;
        let answer = asked.unwrap_or_else(|error| panic!("{}, {due} was due: {error}", operation.name));
        if answer.status() == 501 && self.engine == Engine::Postgres {
            // What is only there for files reads nothing here.
            return None;
        }
        let complaint = self.description.complaint(&operation.described, &answer);
        match (answer.status() == due, complaint) {
            (true, None) => None,
            (_, complaint) => {
                Some(format!("{}, {due} was due: {} {} {complaint:?}", operation.name, answer.status(), answer.text()))
            }
        }
    }
}

/// Every parameter of the path filled in; the form of Google's clients has a verb in it.
fn ask(operation: &Operation) -> Request {
    let (method, path) = operation.name.split_once(' ').expect("a method and a path");
    let fill = |part: &str| match part {
        "{model}" => "m:generateContent".to_owned(),
        part if part.starts_with('{') => "x".to_owned(),
        part => part.to_owned(),
    };
    Request::new(method, &path.split('/').map(fill).collect::<Vec<_>>().join("/"))
}

async fn walk(engine: Engine) {
    let Some((visitors, _schema)) = Visitors::come(engine).await else { return };

    let operations: Vec<_> = operations::walked().collect();
    let wrong = futures_util::future::join_all(operations.iter().map(|operation| visitors.knock(operation))).await;

    visitors.site.loses_patience().await;
    let slow = futures_util::future::join_all(operations.iter().map(|operation| visitors.dawdle(operation))).await;

    let wrong: Vec<_> = wrong.into_iter().flatten().chain(slow.into_iter().flatten()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_door_is_kept_on_sqlite() {
    walk(Engine::Sqlite).await;
}

#[tokio::test]
async fn every_door_is_kept_on_postgres() {
    walk(Engine::Postgres).await;
}
