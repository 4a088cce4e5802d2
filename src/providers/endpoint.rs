//! From an entry of the catalogue and a connection's own data to a URL.

use std::collections::BTreeMap;

use url::Url;

use super::catalog::ProviderSpec;

/// Why a connection has no URL to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The base URL needs a value the connection does not have.
    #[error("provider {provider} needs `{variable}` to build its URL")]
    MissingVariable {
        /// Id of the provider.
        provider: String,
        /// Name of the variable.
        variable: String,
    },
    /// A value could lead the call to another place than the entry means.
    #[error("`{variable}` may only hold letters, digits, dots, dashes and underscores")]
    UnsafeVariable {
        /// Name of the variable.
        variable: String,
    },
    /// The result is no URL that can be called.
    #[error("the base URL is not valid: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

impl ProviderSpec {
    /// Where chat calls go: the connection's own base URL, or the entry's with its variables filled in.
    pub fn endpoint(&self, base: Option<&str>, variables: &BTreeMap<String, String>) -> Result<Url, EndpointError> {
        self.url(base, variables, &self.chat_path)
    }

    /// Where streamed calls go, where that is another place.
    ///
    /// # Errors
    /// As [`Self::endpoint`].
    pub fn stream_endpoint(
        &self,
        base: Option<&str>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<Url>, EndpointError> {
        self.stream_path.as_ref().map(|path| self.url(base, variables, path)).transpose()
    }

    /// Where the list of models is, if there is one.
    ///
    /// # Errors
    /// As [`Self::endpoint`].
    pub fn models_endpoint(
        &self,
        base: Option<&str>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<Url>, EndpointError> {
        let path = Some(&self.models_path).filter(|path| !path.is_empty());
        path.map(|path| self.url(base, variables, path)).transpose()
    }

    /// The headers of every call, with their variables filled in.
    ///
    /// # Errors
    /// When a value is missing or could write another header.
    pub fn filled_headers(&self, values: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, EndpointError> {
        let fill = |(name, text): (&String, &String)| match variable_in(text) {
            Some(variable) => {
                let value = self.value(variable, values)?;
                Ok((name.clone(), text.replace(&format!("{{{variable}}}"), value)))
            }
            None => Ok((name.clone(), text.clone())),
        };
        self.headers.iter().map(fill).collect()
    }

    fn url(&self, base: Option<&str>, vars: &BTreeMap<String, String>, path: &str) -> Result<Url, EndpointError> {
        let base = match base.map(str::trim).filter(|base| !base.is_empty()) {
            Some(own) => without_path(own, &self.chat_path).to_owned(),
            None => self.filled_in(vars)?,
        };
        let url = Url::parse(&format!("{base}{path}")).map_err(|error| invalid(error.to_string()))?;
        check(&base, &url)?;
        Ok(url)
    }

    fn filled_in(&self, values: &BTreeMap<String, String>) -> Result<String, EndpointError> {
        let mut url = self.base_url.clone();
        for variable in self.variables.keys() {
            let value = self.value(variable, values)?;
            url = url.replace(&format!("{{{variable}}}"), value);
        }
        // A region of this name is all of them together, and has no host of its own.
        Ok(url.replacen("://global-", "://", 1))
    }

    fn value<'a>(&'a self, variable: &str, values: &'a BTreeMap<String, String>) -> Result<&'a str, EndpointError> {
        let given = values.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty());
        let value = given.or_else(|| self.defaults.get(variable).map(String::as_str));
        let missing = || EndpointError::MissingVariable { provider: self.id.clone(), variable: variable.to_owned() };
        let value = value.ok_or_else(missing)?;
        if is_harmless(value) {
            Ok(value)
        } else {
            Err(EndpointError::UnsafeVariable { variable: variable.to_owned() })
        }
    }
}

/// The one `{variable}` of a text.
fn variable_in(text: &str) -> Option<&str> {
    text.split_once('{')?.1.split_once('}').map(|(name, _)| name)
}

/// People paste the whole URL of a chat call as base URL: take it for what it means.
fn without_path<'a>(base: &'a str, chat_path: &str) -> &'a str {
    let base = base.trim_end_matches('/');
    let path = chat_path.split('?').next().unwrap_or(chat_path);
    base.strip_suffix(path).unwrap_or(base).trim_end_matches('/')
}

fn is_harmless(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    value.chars().all(plain) && !value.contains("..") && value != "."
}

fn check(base: &str, url: &Url) -> Result<(), EndpointError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("expected http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("a user name or password does not belong into it"));
    }
    if base.contains(['?', '#']) {
        return Err(invalid("a query or a fragment does not belong into it"));
    }
    Ok(())
}

fn invalid(reason: impl Into<String>) -> EndpointError {
    EndpointError::Invalid { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::super::catalog::{Catalog, Wire};
    use super::*;

    fn spec(id: &str) -> &'static ProviderSpec {
        Catalog::builtin().get(id).unwrap()
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_provider_has_a_url_once_its_variables_are_given() {
        for spec in Catalog::builtin().iter() {
            let given = spec.variables.keys().map(|name| (name.clone(), "acme".to_owned())).collect();

            let chat = spec.endpoint(None, &given).unwrap();
            let models = spec.models_endpoint(None, &given).unwrap();

            let path = spec.chat_path.split('?').next().unwrap().replace("{model}", "%7Bmodel%7D");
            assert!(chat.path().ends_with(&path), "{}: {chat}", spec.id);
            let listed = models.is_none_or(|models| models.path().contains("models") || spec.wire == Wire::Ollama);
            assert!(listed, "{}: its list of models", spec.id);
            let filled = chat.as_str().replace("%7Bmodel%7D", "");
            assert!(!filled.contains(['{', '}']) && !filled.contains("%7B"), "{}: {chat}", spec.id);
        }
    }

    #[test]
    fn every_declared_variable_stands_in_the_base_url() {
        for spec in Catalog::builtin().iter() {
            for name in spec.variables.keys() {
                assert!(spec.base_url.contains(&format!("{{{name}}}")), "{}: {name} is not used", spec.id);
            }
        }
    }

    #[test]
    fn urls_are_what_the_providers_document() {
        let account = values(&[("account_id", "abc123")]);
        let azure = values(&[("resource", "acme"), ("deployment", "gpt-4o")]);

        let urls = [
            spec("groq").endpoint(None, &values(&[])).unwrap(),
            spec("gemini").endpoint(None, &values(&[])).unwrap(),
            spec("cloudflare-ai").endpoint(None, &account).unwrap(),
            spec("azure-openai").endpoint(None, &azure).unwrap(),
            spec("openai").models_endpoint(None, &values(&[])).unwrap().unwrap(),
        ];

        assert_eq!(
            urls.map(String::from),
            [
                "https://api.groq.com/openai/v1/chat/completions",
                "https://generativelanguage.googleapis.com/v1beta/models/%7Bmodel%7D:generateContent",
                "https://api.cloudflare.com/client/v4/accounts/abc123/ai/v1/chat/completions",
                "https://acme.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
                "https://api.openai.com/v1/models",
            ]
        );
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = spec("cloudflare-ai").endpoint(None, &values(&[("account_id", " ")])).unwrap_err();

        assert_eq!(error.to_string(), "provider cloudflare-ai needs `account_id` to build its URL");
    }

    #[test]
    fn a_variable_cannot_lead_the_call_elsewhere() {
        for value in ["evil.example/", "a@evil.example", "a?b", "a#b", "..", "a\nb", "a:1"] {
            let error = spec("databricks").endpoint(None, &values(&[("workspace", value)])).unwrap_err();
            assert!(matches!(error, EndpointError::UnsafeVariable { .. }), "{value}: {error}");
        }
    }

    #[test]
    fn an_own_base_url_replaces_the_entrys_and_needs_no_variables() {
        let bases =
            ["http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1/", "http://127.0.0.1:9000/v1/chat/completions"];

        for base in bases {
            let url = spec("openai").endpoint(Some(base), &values(&[])).unwrap();
            assert_eq!(url.as_str(), "http://127.0.0.1:9000/v1/chat/completions");
        }
        assert!(spec("cloudflare-ai").endpoint(Some(bases[0]), &values(&[])).is_ok());
    }

    #[test]
    fn a_base_url_that_cannot_be_called_is_refused() {
        for base in ["ftp://a/v1", "not a url", "https://user:pw@a/v1", "https://a/v1?x=1", "https://a/v1#x", "/v1"] {
            let error = spec("openai").endpoint(Some(base), &values(&[])).unwrap_err();
            assert!(matches!(error, EndpointError::Invalid { .. }), "{base}: {error}");
        }
    }
}
