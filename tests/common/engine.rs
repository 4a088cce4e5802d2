//! The databases that a gateway keeps its state in: a file of its own, or a schema of its own on a PostgreSQL server.

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection, QueryResult};
use omniroute_testkit::gateway::Builder;
use omniroute_testkit::services;

/// What a gateway keeps its state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The builder with a new database of this kind, which lives as long as the second value; nothing, loudly, where
    /// this machine has no such server.
    pub fn fresh(self, builder: Builder) -> Option<(Builder, Option<Schema>)> {
        if self == Self::Sqlite {
            return Some((builder, None));
        }
        let schema = Schema::create()?;
        Some((schema.shared_by(builder), Some(schema)))
    }
}

/// A schema of one test's own. Dropping it drops the schema.
#[derive(Debug)]
pub struct Schema {
    server: String,
    name: String,
}

impl Schema {
    /// Make one, or say loudly that there is no server.
    pub fn create() -> Option<Self> {
        let server = services::variable("OMNIROUTE_TEST_POSTGRES")?;
        let schema = Self { server, name: format!("test{}", uuid::Uuid::new_v4().simple()) };
        schema.run(&format!("CREATE SCHEMA {}", schema.name)).expect("a schema");
        Some(schema)
    }

    /// A gateway that keeps its state here, with the master key that all who share it need.
    pub fn shared_by(&self, builder: Builder) -> Builder {
        let url = format!("{}?options=-csearch_path%3D{}", self.server, self.name);
        builder.env("DATABASE_URL", &url).set("storage.master_key", &"0123456789abcdef".repeat(4))
    }

    fn run(&self, sql: &str) -> QueryResult<()> {
        PgConnection::establish(&self.server).expect("a PostgreSQL server").batch_execute(sql)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let dropped = self.run(&format!("DROP SCHEMA {} CASCADE", self.name));
        // A second panic would hide the first one.
        assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
    }
}
