//! The operations that the first API reference asks for, and which of them are not there yet.

use std::collections::BTreeSet;

use super::AREAS;
use super::description::Description;
use crate::common::{Site, calm};

/// What is not there yet: its word in the list, why, and how much of it. It may become less only.
const NOT_YET: [(&str, &str, usize); 2] = [
    ("media", "embeddings, pictures and speech have requests of their own, and come with them", 7),
    ("money", "usage, budgets, prices and caches are shown by what counts them, and come with it", 9),
];

/// One operation of the reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// What it belongs to.
    pub area: &'static str,
    /// `METHOD /path` as the reference has it.
    pub name: String,
    /// The same as our description has it.
    pub described: String,
}

impl Operation {
    fn is_expected(&self) -> bool {
        NOT_YET.iter().any(|(word, ..)| *word == self.area)
    }
}

/// Every operation of the reference.
pub fn all() -> Vec<Operation> {
    let lines = include_str!("../fixtures/first_operations.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(operation).collect()
}

/// Those that the walk meets.
pub fn walked() -> impl Iterator<Item = Operation> {
    all().into_iter().filter(|operation| !operation.is_expected())
}

fn operation(line: &'static str) -> Operation {
    let words: Vec<_> = line.split_whitespace().collect();
    let [area, method, path, rest @ ..] = words.as_slice() else { panic!("an operation in {line:?}") };
    let described = rest.last().unwrap_or(path);
    Operation { area, name: format!("{method} {path}"), described: format!("{method} {described}") }
}

#[test]
fn every_operation_of_the_reference_is_walked_or_expected_later() {
    let all = all();

    let different: BTreeSet<_> = all.iter().map(|operation| &operation.name).collect();
    let strange: Vec<_> = walked().filter(|operation| !AREAS.contains(&operation.area)).collect();

    assert_eq!((all.len(), different.len()), (114, 114));
    assert!(strange.is_empty(), "no area walks {strange:?}");
    for (word, why, count) in NOT_YET {
        let expected = all.iter().filter(|operation| operation.area == word).count();
        assert_eq!(expected, count, "{word}: {why}; what has come is walked, and nothing that was there goes away");
    }
}

#[tokio::test]
async fn what_is_expected_later_is_really_not_there() {
    let site = Site::open(calm()).await;
    let description = Description::of(&site.admin).await;

    let here: Vec<_> = all().into_iter().filter(|operation| description.knows(&operation.described)).collect();

    let come: Vec<_> = here.iter().filter(|operation| operation.is_expected()).collect();
    assert!(come.is_empty(), "walk these in the area they belong to: {come:?}");
    assert_eq!(here.len(), walked().count(), "all others are described");
}
