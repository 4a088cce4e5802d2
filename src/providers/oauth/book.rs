//! The table of servers: what is compiled in, what the operator's file lays over it, and the clients of the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;
use toml::{Table, Value};

use crate::config::{Environment, Secret, SecretError};
use crate::upstream::Caller;

/// The ways to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// A browser is sent to the server and comes back with a code (RFC 6749, 4.1, with RFC 7636).
    AuthorizationCode,
    /// A person enters a short code on another device (RFC 8628).
    DeviceCode,
    /// The gateway signs in as itself (RFC 6749, 4.4).
    ClientCredentials,
    /// Tokens that were got elsewhere.
    Import,
}

impl Flow {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "device_code",
            Self::ClientCredentials => "client_credentials",
            Self::Import => "import",
        }
    }
}

/// How the client says who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Id and secret stand in the form.
    #[default]
    Body,
    /// They stand in the header `authorization`.
    Basic,
}

/// One server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OauthSpec {
    /// The key of the entry.
    #[serde(skip)]
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Whose connections it makes; empty for the entry's own name.
    #[serde(default)]
    pub provider: String,
    /// The ways that it offers.
    pub flows: Vec<Flow>,
    /// Who it is; its metadata say the addresses that are not given here.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Where a browser is sent.
    #[serde(default)]
    pub authorization_url: Option<String>,
    /// Where tokens are given.
    #[serde(default)]
    pub token_url: Option<String>,
    /// Where a device begins.
    #[serde(default)]
    pub device_url: Option<String>,
    /// Where an account says its name, if its token does not.
    #[serde(default)]
    pub userinfo_url: Option<String>,
    /// What the addresses leave open.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What a client asks for that signs in as itself; the same when it is left out.
    #[serde(default)]
    pub client_scopes: Option<Vec<String>>,
    /// What else stands in the address that a browser is sent to.
    #[serde(default)]
    pub authorize_params: BTreeMap<String, String>,
    /// What else is said when tokens are asked for.
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    /// How the client says who it is.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// Whether a device proves itself as a browser does.
    #[serde(default)]
    pub device_pkce: bool,
    /// Where a browser comes back to when nobody says otherwise.
    #[serde(default)]
    pub redirect_uri: Option<String>,
    /// The operator's client.
    #[serde(default)]
    pub client_id: Option<String>,
    #[serde(default)]
    client_secret: Secret,
    /// The secret of the operator's client; public clients have none.
    #[serde(skip)]
    pub secret: Option<SecretString>,
    /// The connection whose way out is taken, once there is one.
    #[serde(skip)]
    pub via: Option<String>,
}

impl OauthSpec {
    /// Who asks its server, as far as the way out goes.
    pub fn caller(&self) -> Caller<'_> {
        let provider = if self.provider.is_empty() { &self.id } else { &self.provider };
        Caller { connection: self.via.as_deref(), provider: Some(provider), ..Caller::default() }
    }

    /// The same, asked by the way out of this connection.
    #[must_use]
    pub fn via(&self, connection: &str) -> Self {
        Self { via: Some(connection.to_owned()), ..self.clone() }
    }

    /// Whether it offers this way.
    pub fn offers(&self, flow: Flow) -> bool {
        self.flows.contains(&flow)
    }

    /// What an operator still has to say before anybody can sign in.
    pub fn missing(&self) -> Vec<String> {
        let client = self.client_id.is_none().then(|| "client_id".to_owned());
        let open = self.addresses().filter_map(|url| open_value(url)).map(|name| format!("values.{name}"));
        let mut missing: Vec<_> = client.into_iter().chain(open).collect();
        missing.dedup();
        missing
    }

    fn addresses(&self) -> impl Iterator<Item = &String> {
        [&self.issuer, &self.authorization_url, &self.token_url, &self.device_url, &self.userinfo_url]
            .into_iter()
            .flatten()
    }

    fn complete(&mut self, id: &str, environment: &Environment) -> Result<(), SecretError> {
        id.clone_into(&mut self.id);
        if self.provider.is_empty() {
            id.clone_into(&mut self.provider);
        }
        let stem = id.to_ascii_uppercase().replace(['-', '.'], "_");
        let named = |what: &str| environment.non_empty(&format!("{stem}_OAUTH_CLIENT_{what}")).map(str::to_owned);
        self.client_id = named("ID").or(self.client_id.take()).filter(|id| !id.is_empty());
        self.secret = match named("SECRET") {
            Some(secret) => Some(secret.into()),
            None => self.client_secret.resolve_in(environment)?,
        };
        let values = self.values.clone();
        let urls = [
            &mut self.issuer,
            &mut self.authorization_url,
            &mut self.token_url,
            &mut self.device_url,
            &mut self.userinfo_url,
        ];
        for url in urls.into_iter().flatten() {
            for (name, value) in &values {
                *url = url.replace(&format!("{{{name}}}"), value);
            }
        }
        Ok(())
    }
}

/// The `{name}` that nothing filled.
fn open_value(url: &str) -> Option<&str> {
    url.split_once('{')?.1.split_once('}').map(|(name, _)| name)
}

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The operator's file.
    #[error("oauth.file: {path} cannot be read: {source}")]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML. The text of the line is not repeated, it may hold a secret.
    #[error("oauth.file: {0} is no TOML of tables")]
    NoToml(Spot),
    /// An entry is wrong.
    #[error("oauth.file: {0}: the entry `{1}` is wrong: {2}")]
    Entry(Spot, String, String),
    /// The secret of a client cannot be had.
    #[error("oauth.file: {0}: the client_secret of `{1}`: {2}")]
    Secret(Spot, String, SecretError),
}

/// A file, and the line of it that is meant.
#[derive(Debug)]
pub struct Spot {
    path: PathBuf,
    line: Option<usize>,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

/// The operator's file, to find places in it.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn at(&self, line: Option<usize>) -> Spot {
        Spot { path: self.path.to_owned(), line }
    }

    /// Where a parser stopped.
    fn of(&self, error: &toml::de::Error) -> Spot {
        let before = error.span().and_then(|span| self.text.get(..span.start));
        self.at(before.map(|before| before.matches('\n').count() + 1))
    }

    /// The line of a key of this entry, or of the entry itself.
    fn of_key(&self, id: &str, key: Option<&str>) -> Spot {
        let numbered = || self.text.lines().map(str::trim).enumerate();
        let header = |line: &str| {
            let name = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim());
            name.is_some_and(|name| name.trim_matches(['"', '\'']) == id)
        };
        let Some((first, _)) = numbered().find(|(_, line)| header(line)) else { return self.at(None) };
        let is_key = |line: &str| {
            line.split_once('=').is_some_and(|(name, _)| Some(name.trim().trim_matches(['"', '\''])) == key)
        };
        let own = numbered().skip(first + 1).take_while(|(_, line)| !line.starts_with('['));
        let found = own.filter(|(_, line)| is_key(line)).map(|(number, _)| number).next();
        self.at(Some(found.unwrap_or(first) + 1))
    }
}

/// The word that a message is about: parsers put it into backquotes.
fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}

/// Every server, by name.
#[derive(Debug, Default)]
pub struct OauthBook(BTreeMap<String, Arc<OauthSpec>>);

const BUILTIN: &str = include_str!("../oauth.toml");

impl OauthBook {
    /// What is compiled in, with the operator's file (an empty path is none) and the environment laid over it.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(file: &Path, environment: &Environment) -> Result<Self, BookError> {
        let builtin = Source { path: Path::new("the built-in table"), text: BUILTIN };
        let mut tables: Table = BUILTIN.parse().map_err(|error| BookError::NoToml(builtin.of(&error)))?;
        let text = if file.as_os_str().is_empty() { Ok(String::new()) } else { std::fs::read_to_string(file) };
        let text = text.map_err(|source| BookError::Unreadable { path: file.to_owned(), source })?;
        let source = Source { path: file, text: &text };
        let own: Table = text.parse().map_err(|error| BookError::NoToml(source.of(&error)))?;
        own.into_iter().for_each(|(id, entry)| lay_over(&mut tables, id, entry));
        let entry = |(id, entry): (String, Value)| {
            let wrong = |error: toml::de::Error| {
                let spot = source.of_key(&id, quoted(error.message()));
                BookError::Entry(spot, id.clone(), error.message().into())
            };
            let mut spec: OauthSpec = entry.try_into().map_err(wrong)?;
            let secret = |error| BookError::Secret(source.of_key(&id, Some("client_secret")), id.clone(), error);
            spec.complete(&id, environment).map_err(secret)?;
            Ok((id, Arc::new(spec)))
        };
        tables.into_iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// The server of this name.
    pub fn get(&self, id: &str) -> Option<&Arc<OauthSpec>> {
        self.0.get(id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<OauthSpec>> {
        self.0.values()
    }
}

/// The operator's keys count more; what they do not say stays.
fn lay_over(tables: &mut Table, id: String, entry: Value) {
    match (tables.get_mut(&id), entry) {
        (Some(Value::Table(known)), Value::Table(own)) => known.extend(own),
        (_, entry) => drop(tables.insert(id, entry)),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::providers::Catalog;

    fn book(text: &str, variables: &[(&str, &str)]) -> Result<OauthBook, BookError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("oauth.toml");
        std::fs::write(&file, text).unwrap();
        OauthBook::read(&file, &variables.iter().copied().collect())
    }

    #[test]
    fn no_built_in_server_brings_a_client_and_each_belongs_to_a_provider() {
        let book = OauthBook::read(Path::new(""), &Environment::default()).unwrap();

        assert!(book.iter().count() > 4);
        for spec in book.iter() {
            assert!(spec.client_id.is_none() && spec.secret.is_none(), "{}", spec.id);
            assert!(Catalog::builtin().get(&spec.provider).is_some(), "{}", spec.id);
            assert!(spec.missing().contains(&"client_id".to_owned()), "{}", spec.id);
            assert!(spec.addresses().all(|url| url.starts_with("https://")), "{}", spec.id);
        }
    }

    #[test]
    fn the_operators_words_are_laid_over_key_by_key() {
        let text = "[gitlab]\nclient_id = \"me\"\nclient_secret = \"env:GL\"\nvalues = { host = \"git.acme.example\" }\n\
                    [acme]\nname = \"Acme\"\nprovider = \"openai\"\nflows = [\"client_credentials\"]\nissuer = \"https://id.acme.example\"";

        let book = book(text, &[("GL", "hush"), ("ACME_OAUTH_CLIENT_ID", "of-the-environment")]).unwrap();

        let gitlab = book.get("gitlab").unwrap();
        assert_eq!(gitlab.token_url.as_deref(), Some("https://git.acme.example/oauth/token"));
        assert_eq!(
            (gitlab.client_id.as_deref(), gitlab.secret.as_ref().unwrap().expose_secret()),
            (Some("me"), "hush")
        );
        assert!(gitlab.missing().is_empty() && gitlab.offers(Flow::DeviceCode));
        let acme = book.get("acme").unwrap();
        assert_eq!((acme.client_id.as_deref(), acme.provider.as_str()), (Some("of-the-environment"), "openai"));
    }

    #[test]
    fn what_an_address_leaves_open_is_named() {
        let book = book("[databricks]\nclient_id = \"me\"", &[]).unwrap();

        assert_eq!(book.get("databricks").unwrap().missing(), ["values.host"]);
    }

    #[test]
    fn a_wrong_file_is_refused_without_repeating_its_secrets() {
        let wrong = [
            "[gitlab]\nclient_secret = \"very-secret\"\nclient_idd = \"x\"",
            "[gitlab\nclient_secret = \"very-secret\"",
            "[new]\nclient_secret = \"very-secret\"",
            "[gitlab]\nclient_secret = \"env:NOT_THERE\"",
        ];

        for text in wrong {
            let error = book(text, &[]).unwrap_err().to_string();
            assert!(error.starts_with("oauth.file: ") && !error.contains("very-secret"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let wrong = [
            ("[gitlab]\nclient_id = \"me\"\n\nclient_idd = \"x\"", ":4: the entry `gitlab`"),
            ("# mine\n[new]\nclient_id = \"me\"", ":2: the entry `new`"),
            ("[gitlab]\nclient_secret = \"env:NOT_THERE\"", ":2: the client_secret"),
            ("[gitlab]\nclient_id = \"me\"\nscopes = [", "oauth.toml:3 is no TOML"),
        ];

        for (text, place) in wrong {
            let error = book(text, &[]).unwrap_err().to_string();
            assert!(error.contains(place), "{error}");
        }
    }
}
