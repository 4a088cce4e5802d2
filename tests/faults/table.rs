//! Tables in module docs that say which test proves what: read here, so that a table cannot promise a test that is gone.

use std::path::{Path, PathBuf};

/// One row: its first cell, and the tests that it names.
#[derive(Debug)]
pub struct Row {
    pub label: String,
    pub tests: Vec<String>,
}

/// The rows of the table in a file's module doc. A row is `//! | label | ... | `path::test` ... |`; a label is one without
/// blanks, so heads and rules are none.
pub fn rows(source: &str) -> Vec<Row> {
    source.lines().take_while(|line| line.starts_with("//!")).filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("//! |")?.split('|').map(str::trim).collect();
    let label = cells.first().filter(|label| label.chars().next().is_some_and(|c| c.is_ascii_digit()))?;
    let quoted = cells.last().filter(|cell| !cell.is_empty()).or(cells.iter().rev().nth(1))?;
    let tests = quoted.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some(Row { label: (*label).to_owned(), tests })
}

/// Panics unless every row names a test, and every named test is one.
///
/// # Panics
/// Naming all that are none.
pub fn check(rows: &[Row]) {
    let missing: Vec<_> = rows
        .iter()
        .flat_map(|row| row.tests.iter().map(move |test| (row, test)))
        .filter(|(_, test)| !is_test(test))
        .map(|(row, test)| format!("{}: {test}", row.label))
        .chain(rows.iter().filter(|row| row.tests.is_empty()).map(|row| format!("{}: no test", row.label)))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Whether `path::name` is a test: the path is a file below `tests/` or the root, without its ending.
fn is_test(reference: &str) -> bool {
    let Some((path, name)) = reference.rsplit_once("::") else { return false };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [root.join("tests"), root.to_path_buf()].map(|base| base.join(format!("{path}.rs")));
    files.iter().any(|file| holds(file, name))
}

/// Whether the file has a function of this name under an attribute of a test, or inside a property.
fn holds(file: &PathBuf, name: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_it =
        |line: &str| line.trim_start_matches("async ").strip_prefix("fn ").is_some_and(|rest| named(rest, name));
    let at = lines.iter().position(|line| is_it(line));
    let above = |at: usize| lines[..at].iter().rev().take_while(|line| !line.is_empty());
    at.is_some_and(|at| above(at).any(|line| line.contains("test]") || line.contains("test(")))
}

fn named(rest: &str, name: &str) -> bool {
    rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('('))
}

#[test]
fn a_test_that_is_not_there_is_not_found() {
    assert!(is_test("faults/table::a_test_that_is_not_there_is_not_found"));

    assert!(!is_test("faults/table::a_test_that_is_not"));
    assert!(!is_test("faults/table::holds"), "a function is no test");
    assert!(!is_test("faults/nowhere::a_test_that_is_not_there_is_not_found"));
}
