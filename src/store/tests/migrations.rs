//! The two migration trees make one schema, the one the code is written against.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::bed::{Bed, beds};
use crate::store::{Engine, StoreError, migrate};

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    class: String,
    #[diesel(sql_type = BigInt)]
    nullable: i64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, QueryableByName)]
struct Index {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    columns: String,
    #[diesel(sql_type = BigInt)]
    is_unique: i64,
}

const SQLITE_COLUMNS: &str = "SELECT m.name AS table_name, c.name AS column_name, lower(c.type) AS class, \
     1 - c.\"notnull\" AS nullable FROM sqlite_master m, pragma_table_info(m.name) c \
     WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%'";
const POSTGRES_COLUMNS: &str = "SELECT table_name::text, column_name::text, data_type::text AS class, \
     (CASE is_nullable WHEN 'YES' THEN 1 ELSE 0 END)::bigint AS nullable FROM information_schema.columns \
     WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_\\_%'";
const SQLITE_INDEXES: &str = "SELECT m.name AS table_name, l.\"unique\" AS is_unique, \
     (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(l.name) ORDER BY seqno)) AS columns \
     FROM sqlite_master m, pragma_index_list(m.name) l \
     WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\'";
const POSTGRES_INDEXES: &str = "SELECT t.relname::text AS table_name, \
     (CASE WHEN i.indisunique THEN 1 ELSE 0 END)::bigint AS is_unique, \
     (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY AS k(number, n) \
      JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number) AS columns \
     FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace s ON s.oid = t.relnamespace \
     WHERE s.nspname = current_schema() AND t.relname NOT LIKE '\\_\\_%'";

fn columns(bed: &Bed) -> BTreeSet<Column> {
    let query = if bed.engine() == Engine::Sqlite { SQLITE_COLUMNS } else { POSTGRES_COLUMNS };
    diesel::sql_query(query).load(&mut bed.raw()).unwrap().into_iter().collect()
}

/// SQLite keeps a primary key of type BIGINT as an index, too, so both engines list the same.
fn indexes(bed: &Bed) -> BTreeSet<Index> {
    let query = if bed.engine() == Engine::Sqlite { SQLITE_INDEXES } else { POSTGRES_INDEXES };
    diesel::sql_query(query).load(&mut bed.raw()).unwrap().into_iter().collect()
}

/// The declared tables, read from the source: Diesel keeps no list of them at run time.
fn declared() -> BTreeSet<Column> {
    let mut table = String::new();
    let mut renamed = None;
    let mut found = BTreeSet::new();
    for line in include_str!("../schema.rs").lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("#[sql_name = \"") {
            renamed = name.strip_suffix("\"]").map(ToOwned::to_owned);
        } else if let Some((name, kind)) = line.split_once(" -> ") {
            let kind = kind.trim_end_matches(',');
            let inner = kind.strip_prefix("Nullable<").map(|inner| inner.trim_end_matches('>'));
            found.insert(Column {
                table_name: table.clone(),
                column_name: renamed.take().unwrap_or_else(|| name.to_owned()),
                class: class_of(inner.unwrap_or(kind)).to_owned(),
                nullable: i64::from(inner.is_some()),
            });
        } else if let Some((name, _)) = line.split_once(" (") {
            table = name.to_owned();
        }
    }
    found
}

fn class_of(kind: &str) -> &'static str {
    match kind {
        "Text" => "text",
        "Integer" => "integer",
        "BigInt" => "bigint",
        "Bool" => "boolean",
        other => panic!("{other} is not among the types both engines share"),
    }
}

#[test]
fn the_migrations_make_what_the_code_declares() {
    for bed in beds() {
        assert_eq!(columns(&bed), declared(), "{:?}", bed.engine());
    }
}

#[test]
fn both_engines_have_the_same_indexes() {
    let all: Vec<BTreeSet<Index>> = beds().iter().map(indexes).collect();

    assert!(all[0].len() > 15, "{:?}", all[0]);
    assert!(all.iter().all(|indexes| *indexes == all[0]), "{all:#?}");
}

#[test]
fn the_schema_goes_up_down_and_up_again() {
    for bed in beds() {
        let before = (columns(&bed), indexes(&bed));

        migrate::revert_all(&mut bed.raw());
        assert!(columns(&bed).is_empty(), "{:?}", columns(&bed));
        migrate::run(&mut bed.raw()).unwrap();

        assert_eq!((columns(&bed), indexes(&bed)), before);
    }
}

#[test]
fn a_schema_from_a_newer_release_is_refused_and_left_alone() {
    for bed in beds() {
        bed.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000000')").unwrap();

        let refused = bed.reopen().unwrap_err();

        assert!(matches!(&refused, StoreError::Invalid(text) if text.contains("99991231000000")), "{refused:?}");
        assert_eq!(columns(&bed), declared());
    }
}

#[test]
fn instances_that_start_at_once_migrate_once() {
    for bed in beds() {
        migrate::revert_all(&mut bed.raw());

        std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| bed.reopen())).collect();
            for start in starts {
                start.join().unwrap().unwrap();
            }
        });

        assert_eq!(columns(&bed), declared());
    }
}

#[test]
fn both_trees_hold_migrations_of_the_same_names() {
    let names = |engine: &str| -> BTreeSet<String> {
        let tree = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let entries = std::fs::read_dir(tree).unwrap().map(Result::unwrap);
        let files = entries.flat_map(|entry| std::fs::read_dir(entry.path()).unwrap()).map(Result::unwrap);
        files.map(|file| file.path().iter().rev().take(2).map(|part| part.to_string_lossy()).collect()).collect()
    };

    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}
