//! What a person needs next, printed once at the start: on standard output, not through the log, because it may hold
//! secrets that are shown only here.

use std::fmt::Write;
use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};

use crate::config::Source;

/// How to sign in.
#[derive(Debug)]
pub enum SignIn {
    /// With this token, once, to set the first password.
    Token(SecretString),
    /// With the configured first password, which has just been stored; where it came from.
    InitialPassword(Source),
    /// With the password that is set already.
    Password {
        /// Where a first password is configured that means nothing any more.
        unused: Option<Source>,
    },
}

/// Everything the banner speaks of.
#[derive(Debug)]
pub struct Welcome {
    /// Where it listens.
    pub address: SocketAddr,
    /// How to sign in.
    pub sign_in: SignIn,
    /// The first client key, if this start made it.
    pub first_key: Option<SecretString>,
    /// Names of the variables in the environment whose provider keys became connections.
    pub provider_keys: Vec<String>,
    /// A model that answers, if there is one.
    pub model: Option<String>,
    /// Whether the demo provider runs.
    pub demo: bool,
}

impl Welcome {
    /// The text. A later start says less, and nothing secret.
    pub fn text(&self) -> String {
        let base = base_url(self.address);
        let mut text = format!("\nOmniRoute {} listens on {base}\n", env!("CARGO_PKG_VERSION"));
        if !self.provider_keys.is_empty() {
            let names = self.provider_keys.join(", ");
            line(&mut text, format_args!("Provider keys found in the environment: {names}"));
        }
        self.sign_in(&mut text, &base);
        if let Some(key) = &self.first_key {
            self.first_call(&mut text, &base, key);
        }
        text.push('\n');
        text
    }

    fn sign_in(&self, text: &mut String, base: &str) {
        match &self.sign_in {
            SignIn::Token(token) => line(
                text,
                format_args!(
                    "\nNo password is set yet. Set one with this token, which works once, within 30 minutes:\n\n  \
                 curl {base}/api/init -H 'Content-Type: application/json' \\\n    \
                 -d '{{\"token\": \"{}\", \"password\": \"...\"}}'",
                    token.expose_secret(),
                ),
            ),
            SignIn::InitialPassword(source) => {
                line(
                    text,
                    format_args!("\nSign in with the password of auth.initial_password ({source}). It is stored now."),
                );
            }
            SignIn::Password { unused: Some(source) } => line(
                text,
                format_args!(
                    "\nSign in with the password that was stored before. The one of auth.initial_password ({source}) is not\n\
                     looked at any more; it can be removed there.",
                ),
            ),
            SignIn::Password { unused: None } if self.first_key.is_some() => {
                line(text, format_args!("\nSign in with your password."));
            }
            SignIn::Password { unused: None } => {}
        }
    }

    fn first_call(&self, text: &mut String, base: &str, key: &SecretString) {
        let key = key.expose_secret();
        line(text, format_args!("\nYour first client key, shown only now: {key}"));
        let Some(model) = &self.model else {
            return line(text, format_args!("No provider is configured yet: add one under {base}/api/providers."));
        };
        if self.demo {
            line(
                text,
                format_args!(
                    "No provider is configured yet, so the built-in demo answers. One of its two accounts fails now and then:\n\
                 watch x-omniroute-attempts in the answer's headers.",
                ),
            );
        }
        line(
            text,
            format_args!(
                "\nTry it:\n\n  curl -i {base}/v1/chat/completions -H 'Authorization: Bearer {key}' \\\n    \
             -H 'Content-Type: application/json' \\\n    \
             -d '{{\"model\": {}, \"stream\": false, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'",
                shell_safe(model),
            ),
        );
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

/// As JSON inside single quotes of a shell.
fn shell_safe(model: &str) -> String {
    serde_json::Value::from(model).to_string().replace('\'', r"'\''")
}

/// Where this machine reaches the address: one that stands for all addresses is no address to call.
pub fn base_url(address: SocketAddr) -> String {
    let mut reachable = address;
    if address.ip().is_unspecified() {
        reachable.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{reachable}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Welcome {
        Welcome {
            address: "127.0.0.1:20128".parse().unwrap(),
            sign_in: SignIn::Token("one-time".into()),
            first_key: Some("omr_secret".into()),
            provider_keys: Vec::new(),
            model: Some("demo".into()),
            demo: true,
        }
    }

    #[test]
    fn the_first_start_tells_address_token_key_and_a_call_that_can_be_pasted() {
        let text = first().text();

        assert!(text.contains("listens on http://127.0.0.1:20128\n"), "{text}");
        assert!(text.contains(r#""token": "one-time""#) && text.contains("/api/init"), "{text}");
        assert!(text.contains("curl -i http://127.0.0.1:20128/v1/chat/completions"), "{text}");
        assert!(text.contains("'Authorization: Bearer omr_secret'"), "{text}");
        assert!(text.contains(r#""model": "demo", "stream": false"#) && text.contains("built-in demo"), "{text}");
    }

    #[test]
    fn with_a_provider_its_model_is_called_and_the_demo_is_not_mentioned() {
        let text = Welcome { model: Some("groq/it's".into()), demo: false, ..first() }.text();

        assert!(text.contains(r#""model": "groq/it'\''s""#) && !text.contains("demo"), "{text}");
    }

    #[test]
    fn with_an_initial_password_its_setting_is_named_and_no_token_is_shown() {
        let source = Source::file("/etc/omniroute.toml".as_ref());

        let text = Welcome { sign_in: SignIn::InitialPassword(source), ..first() }.text();

        assert!(text.contains("auth.initial_password (/etc/omniroute.toml)") && !text.contains("token"), "{text}");
    }

    #[test]
    fn a_first_password_that_came_too_late_is_told_not_to_count() {
        let unused = Some(Source::variable("INITIAL_PASSWORD"));

        let text = Welcome { sign_in: SignIn::Password { unused }, ..first() }.text();

        assert!(text.contains("stored before") && text.contains("environment variable INITIAL_PASSWORD"), "{text}");
    }

    #[test]
    fn provider_keys_of_the_environment_are_named() {
        let names = ["GROQ_API_KEY", "OPENAI_API_KEY"].map(str::to_owned).to_vec();

        let text = Welcome { provider_keys: names, ..first() }.text();

        assert!(text.contains("found in the environment: GROQ_API_KEY, OPENAI_API_KEY\n"), "{text}");
    }

    #[test]
    fn without_any_provider_it_says_where_to_add_one() {
        let text = Welcome { model: None, demo: false, ..first() }.text();

        assert!(text.contains("/api/providers") && !text.contains("Try it"), "{text}");
    }

    #[test]
    fn a_later_start_is_short_and_holds_no_secret() {
        let text = Welcome { sign_in: SignIn::Password { unused: None }, first_key: None, ..first() }.text();

        assert_eq!(text.trim(), format!("OmniRoute {} listens on http://127.0.0.1:20128", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn an_address_that_stands_for_all_is_shown_as_one_that_can_be_called() {
        let shown = ["0.0.0.0:1", "[::]:2", "10.0.0.7:3"].map(|address| base_url(address.parse().unwrap()));

        assert_eq!(shown, ["http://127.0.0.1:1", "http://[::1]:2", "http://10.0.0.7:3"]);
    }
}
