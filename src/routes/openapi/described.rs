//! What each route takes and answers: `routes.toml`, one line a route, in the notation of [`shape`](super::shape).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::shape::schema;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    /// Shapes that are used by name.
    pub(super) shapes: BTreeMap<String, String>,
    /// Routes, as `METHOD /path`.
    pub(super) routes: BTreeMap<String, Line>,
}

/// One route.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// The body it takes.
    pub(super) takes: Option<String>,
    /// The body may be left out.
    #[serde(default)]
    pub(super) may_be_empty: bool,
    /// The parameters behind the question mark, as the fields of an object.
    pub(super) query: Option<String>,
    /// The body it answers with; nothing where it has none that JSON can say.
    pub(super) gives: Option<String>,
    /// Another type of body than JSON.
    pub(super) media: Option<String>,
    /// Statuses of success.
    #[serde(default)]
    pub(super) status: Vec<u16>,
    /// What else it can say beside what all routes of its kind can.
    #[serde(default)]
    pub(super) says: Vec<u16>,
    /// What routes of its kind can say and this one cannot.
    #[serde(default)]
    pub(super) never: Vec<u16>,
}

static DESCRIBED: LazyLock<Described> = LazyLock::new(|| match toml::from_str(include_str!("routes.toml")) {
    Ok(described) => described,
    Err(error) => {
        tracing::error!(%error, "the descriptions of the routes cannot be read");
        Described::default()
    }
});

/// The descriptions.
pub(super) fn all() -> &'static Described {
    &DESCRIBED
}

/// A schema; an unreadable one allows everything, and a test names it.
pub(super) fn schema_of(text: &str) -> Value {
    schema(text).unwrap_or_else(|_| serde_json::json!({}))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::documented;
    use super::*;
    use crate::routes::table;

    fn file() -> Described {
        toml::from_str(include_str!("routes.toml")).unwrap()
    }

    #[test]
    fn every_route_says_what_it_answers_and_nothing_else_is_described() {
        let file = file();

        let described: BTreeSet<_> = file.routes.keys().cloned().collect();
        let mounted: BTreeSet<_> =
            table().iter().map(|row| format!("{} {}", row.method, documented(row.path))).collect();

        let missing: Vec<_> = mounted.difference(&described).collect();
        let gone: Vec<_> = described.difference(&mounted).collect();
        assert!(missing.is_empty(), "add lines to src/routes/openapi/routes.toml for: {missing:#?}");
        assert!(gone.is_empty(), "these routes do not exist: {gone:#?}");
        let silent: Vec<_> =
            file.routes.iter().filter(|(_, line)| line.gives.is_none() && line.media.is_none()).collect();
        assert!(silent.is_empty(), "no success is described (`gives` or `media`): {silent:#?}");
    }

    #[test]
    fn every_shape_can_be_read_and_every_name_means_something() {
        let file = file();
        let of_routes = file.routes.iter().flat_map(|(route, line)| {
            [&line.takes, &line.query, &line.gives].into_iter().flatten().map(move |shape| (route, shape))
        });

        for (place, text) in file.shapes.iter().chain(of_routes) {
            let schema = schema(text).unwrap_or_else(|why| panic!("{place}: {why}"));
            for name in references(&schema) {
                assert!(file.shapes.contains_key(&name) || name == "Error", "{place}: no shape {name}");
            }
        }
    }

    fn references(schema: &Value) -> Vec<String> {
        match schema {
            Value::Object(fields) => {
                let own = fields.get("$ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
                own.map(ToOwned::to_owned).into_iter().chain(fields.values().flat_map(references)).collect()
            }
            Value::Array(list) => list.iter().flat_map(references).collect(),
            _ => Vec::new(),
        }
    }
}
