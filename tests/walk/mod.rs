//! A walk over every operation that the first API reference asks for, against the built program on either database.
//!
//! Each area walks its operations: the answer of each call is held against the description that the gateway gives of
//! itself (`/api/openapi.json`), its effect is read back, and at the end every status that the description promises for
//! an operation of the area must have been seen. So no operation is without its test, and the description says nothing
//! that cannot happen. What all operations have at their door (who may come in, how large a body may be) is walked
//! once for all of them, in `doors`. What stands beside the reference is walked in `routing` and `fleet`, less strictly:
//! what is said must be described.

mod area;
mod call;
mod description;
mod doors;
mod operations;

use crate::common::engine::Engine;
use area::Area;

macro_rules! areas {
    ($($area:ident),+ $(,)?) => {
        $(mod $area;)+

        /// The areas that are walked.
        const AREAS: &[&str] = &[$(stringify!($area)),+];

        mod on_sqlite {
            $(#[tokio::test]
            async fn $area() {
                super::run(super::Engine::Sqlite, stringify!($area), super::$area::gateway(), super::$area::walk).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test]
            async fn $area() {
                super::run(super::Engine::Postgres, stringify!($area), super::$area::gateway(), super::$area::walk).await;
            })+
        }
    };
}

areas!(
    audit, auth, backups, cloud, combos, evals, fleet, keys, models, monitoring, nodes, oauth, policies, providers,
    resilience, routing, settings, system, tools, v1,
);

async fn run(
    engine: Engine,
    name: &'static str,
    gateway: omniroute_testkit::gateway::Builder,
    walk: impl AsyncFnOnce(&Area),
) {
    let Some(area) = Area::open(name, engine, gateway).await else { return };
    walk(&area).await;
    area.close();
}
