//! Provider keys that already lie in the environment become connections without further configuration.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::catalog::{Catalog, ProviderSpec};
use crate::config::Environment;

/// Endings of the names of variables that hold keys, cut off to find the `_BASE_URL` beside them.
const KEY_ENDINGS: [&str; 5] = ["_API_KEY", "_API_TOKEN", "_ACCESS_TOKEN", "_TOKEN", "_KEY"];

/// A connection that the environment describes.
#[derive(Clone, Debug)]
pub struct EnvironmentConnection {
    /// Stable id, such as `env-openai`.
    pub id: String,
    /// Id of the provider.
    pub provider: String,
    /// Name for people: the variable that holds the key.
    pub name: String,
    /// The key.
    pub credential: SecretString,
    /// Base URL from the `_BASE_URL` variable beside the key.
    pub base_url: Option<String>,
    /// Values for the variables of the base URL.
    pub variables: BTreeMap<String, String>,
}

/// A connection for each provider whose key, and whatever its URL needs, is set.
pub fn discover(environment: &Environment, catalog: &Catalog) -> Vec<EnvironmentConnection> {
    catalog.iter().filter_map(|spec| connection(environment, spec)).collect()
}

fn connection(environment: &Environment, spec: &ProviderSpec) -> Option<EnvironmentConnection> {
    let mut names = spec.env.iter();
    let (name, key) = names.find_map(|name| Some((name, environment.non_empty(name)?)))?;
    let base_url = base_url(environment, name);
    let variables: BTreeMap<_, _> = (spec.variables.iter())
        .filter_map(|(variable, name)| Some((variable.clone(), host_of(environment.non_empty(name)?).to_owned())))
        .collect();
    if base_url.is_none() && variables.len() < spec.variables.len() {
        return None;
    }
    let (id, credential) = (format!("env-{}", spec.id), SecretString::from(key));
    Some(EnvironmentConnection { id, provider: spec.id.clone(), name: name.clone(), credential, base_url, variables })
}

/// `OPENAI_BASE_URL` stands beside `OPENAI_API_KEY`.
fn base_url(environment: &Environment, key_name: &str) -> Option<String> {
    let stem = KEY_ENDINGS.iter().find_map(|ending| key_name.strip_suffix(ending))?;
    environment.non_empty(&format!("{stem}_BASE_URL")).map(str::to_owned)
}

/// Tools write hosts with the scheme before them (`DATABRICKS_HOST=https://...`): only the host is a variable.
fn host_of(value: &str) -> &str {
    value.strip_prefix("https://").unwrap_or(value).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn found<const N: usize>(variables: [(&str, &str); N]) -> Vec<EnvironmentConnection> {
        discover(&variables.into_iter().collect(), Catalog::builtin())
    }

    #[test]
    fn the_usual_key_variables_become_connections() {
        let variables =
            [("OPENAI_API_KEY", "sk-1"), ("ANTHROPIC_API_KEY", "sk-2"), ("GEMINI_API_KEY", "g"), ("GROQ_API_KEY", "q")];

        let connections = found(variables);

        let ids: Vec<_> = connections.iter().map(|connection| connection.id.as_str()).collect();
        assert_eq!(ids, ["env-anthropic", "env-gemini", "env-groq", "env-openai"]);
        assert_eq!(
            (connections[3].name.as_str(), connections[3].credential.expose_secret()),
            ("OPENAI_API_KEY", "sk-1")
        );
    }

    #[test]
    fn an_empty_variable_makes_no_connection() {
        assert!(found([("OPENAI_API_KEY", " "), ("PATH", "/bin")]).is_empty());
    }

    #[test]
    fn a_second_name_of_the_same_provider_makes_no_second_connection() {
        let connections = found([("GEMINI_API_KEY", "a"), ("GOOGLE_API_KEY", "b")]);

        assert_eq!(
            connections.iter().map(|connection| connection.name.as_str()).collect::<Vec<_>>(),
            ["GEMINI_API_KEY"]
        );
    }

    #[test]
    fn a_base_url_beside_the_key_is_taken_up() {
        let connections = found([("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")]);

        assert_eq!(connections[0].base_url.as_deref(), Some("http://127.0.0.1:9/v1"));
    }

    #[test]
    fn a_provider_with_an_account_in_its_url_waits_until_the_account_is_set() {
        let without = found([("CLOUDFLARE_API_TOKEN", "k")]);
        let with = found([("CLOUDFLARE_API_TOKEN", "k"), ("CLOUDFLARE_ACCOUNT_ID", "abc")]);

        assert!(without.is_empty());
        assert_eq!(with[0].variables.get("account_id").map(String::as_str), Some("abc"));
    }

    #[test]
    fn debugging_a_connection_does_not_show_its_key() {
        let shown = format!("{:?}", found([("OPENAI_API_KEY", "sk-very-secret")]));

        assert!(!shown.contains("very-secret"), "{shown}");
    }
}
