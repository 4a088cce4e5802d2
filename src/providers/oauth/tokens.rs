//! What a server gives: tokens and, perhaps, whose they are; and how that is kept.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::connection::token::MintFailure;
use omniroute_actors::resilience::outcome::Outcome;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::book::Flow;
use crate::providers::exchange::reply;
use crate::store::OauthTokenRow;

/// Longest text that is kept of what a server says about an account.
const LONGEST_TEXT: usize = 300;

/// The tokens of one answer.
#[derive(Debug, Clone)]
pub struct TokenSet {
    /// What calls are made with.
    pub access: SecretString,
    /// What the next ones are got with.
    pub refresh: Option<SecretString>,
    /// When the access token ends, where that is told.
    pub expires_at: Option<i64>,
    /// What it is good for.
    pub scope: Option<String>,
    /// How it is sent.
    pub token_type: Option<String>,
    /// Whose it is.
    pub account: Account,
}

/// Whose tokens they are, as far as that is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Its address.
    pub email: Option<String>,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Its name for machines.
    pub subject: Option<String>,
}

impl TokenSet {
    /// Of a good answer (RFC 6749, 5.1).
    ///
    /// # Errors
    /// When there is no token in it that could be sent.
    pub fn read(json: &Value, now: i64) -> Result<Self, MintFailure> {
        let access = text(json, "access_token").filter(|token| is_token(token));
        let broken = || MintFailure::own(Outcome::BrokenAnswer, "the place that gives tokens answered without a token");
        let access = SecretString::from(access.ok_or_else(broken)?);
        let refresh = text(json, "refresh_token").filter(|token| is_token(token)).map(SecretString::from);
        Ok(Self {
            access,
            refresh,
            expires_at: reply::told_life(json, UnixMillis(now)).map(|life| now.saturating_add(life)),
            scope: short(json, "scope"),
            token_type: short(json, "token_type"),
            account: text(json, "id_token").map(|token| Account::of_id_token(&token)).unwrap_or_default(),
        })
    }

    /// As it is kept for a new sign-in.
    pub fn row(&self, connection: &str, grant: &Grant<'_>, now: i64) -> OauthTokenRow {
        let about = json!({
            "flow": grant.flow.as_str(), "scope": self.scope, "tokenType": self.token_type,
            "email": self.account.email, "displayName": self.account.display_name, "subject": self.account.subject,
        });
        OauthTokenRow {
            connection_id: connection.to_owned(),
            grant_id: grant.id.to_owned(),
            secrets: secrets(&self.access, self.refresh.as_ref()),
            about,
            version: 1,
            obtained_at: now,
            expires_at: self.expires_at,
            renewable: self.refresh.is_some() || grant.flow == Flow::ClientCredentials,
            failure: None,
            failed_at: None,
        }
    }

    /// The row with these tokens in the place of its own. A server that does not rotate sends no new refresh token.
    pub fn renew(&self, row: &OauthTokenRow, now: i64) -> OauthTokenRow {
        let kept = Kept::of(row);
        let refresh = self.refresh.clone().or_else(|| kept.refresh.clone());
        let mut about = row.about.clone();
        if let (Some(fields), Some(scope)) = (about.as_object_mut(), &self.scope) {
            fields.insert("scope".into(), json!(scope));
        }
        OauthTokenRow {
            secrets: secrets(&self.access, refresh.as_ref()),
            about,
            obtained_at: now,
            expires_at: self.expires_at,
            renewable: row.renewable || refresh.is_some(),
            failure: None,
            failed_at: None,
            ..row.clone()
        }
    }
}

/// Tokens that somebody brings for an account that is signed in; what they do not bring stays.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    /// What calls are made with.
    pub access: Option<SecretString>,
    /// What the next ones are got with.
    pub refresh: Option<SecretString>,
    /// When the access token ends.
    pub expires_at: Option<i64>,
}

impl Brought {
    /// The row with these tokens, under a grant of its own: what was cached of the one before is not used any more.
    pub fn over(self, row: &OauthTokenRow, grant: &str, now: i64) -> OauthTokenRow {
        let kept = Kept::of(row);
        // Of a new token nobody knows the end unless it is said.
        let expires_at = if self.access.is_some() { self.expires_at } else { self.expires_at.or(row.expires_at) };
        let access = self.access.or(kept.access).unwrap_or_default();
        let refresh = self.refresh.or(kept.refresh);
        OauthTokenRow {
            secrets: secrets(&access, refresh.as_ref()),
            grant_id: grant.to_owned(),
            version: row.version + 1,
            obtained_at: now,
            expires_at,
            renewable: row.renewable || refresh.is_some(),
            failure: None,
            failed_at: None,
            ..row.clone()
        }
    }
}

/// A sign-in that ended well.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'a> {
    /// Its id.
    pub id: &'a str,
    /// The way it went.
    pub flow: Flow,
}

/// The tokens of a row.
#[derive(Debug)]
pub struct Kept {
    /// What calls are made with.
    pub access: Option<SecretString>,
    /// What the next ones are got with.
    pub refresh: Option<SecretString>,
    /// Whether the gateway signed in as itself.
    pub as_client: bool,
}

impl Kept {
    /// The tokens of this row.
    pub fn of(row: &OauthTokenRow) -> Self {
        let json: Value = serde_json::from_str(row.secrets.expose_secret()).unwrap_or_default();
        let secret = |name: &str| text(&json, name).filter(|token| !token.is_empty()).map(SecretString::from);
        let flow = row.about.get("flow").and_then(Value::as_str);
        Self {
            access: secret("access"),
            refresh: secret("refresh"),
            as_client: flow == Some(Flow::ClientCredentials.as_str()),
        }
    }
}

fn secrets(access: &SecretString, refresh: Option<&SecretString>) -> SecretString {
    json!({"access": access.expose_secret(), "refresh": refresh.map(ExposeSecret::expose_secret)}).to_string().into()
}

impl Account {
    /// What the token about the account says. It came from the server itself over a connection of our own, so its
    /// signature adds nothing (OpenID Connect Core, 3.1.3.7).
    fn of_id_token(token: &str) -> Self {
        let claims = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        Self::of_claims(&claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// What a server says about an account.
    pub fn of_claims(claims: &Value) -> Self {
        Self {
            email: short(claims, "email")
                .or_else(|| short(claims, "preferred_username").filter(|name| name.contains('@'))),
            display_name: ["name", "preferred_username", "login"].iter().find_map(|name| short(claims, name)),
            subject: short(claims, "sub"),
        }
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        self.email.is_none() && self.display_name.is_none()
    }
}

/// Whether a text can be sent as a token.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 * 1024 && text.chars().all(|c| c.is_ascii_graphic())
}

fn text(json: &Value, name: &str) -> Option<String> {
    json.get(name)?.as_str().map(str::to_owned)
}

fn short(json: &Value, name: &str) -> Option<String> {
    let text = text(json, name)?;
    let plain: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect();
    Some(plain).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_750_000_000_000;

    fn set(json: &Value) -> TokenSet {
        TokenSet::read(json, NOW).unwrap()
    }

    #[test]
    fn an_answer_tells_tokens_end_and_account() {
        let claims =
            BASE64_URL_SAFE_NO_PAD.encode(json!({"email": "a@b.example", "name": "Ann", "sub": "1"}).to_string());

        let set = set(
            &json!({"access_token": "at", "refresh_token": "rt", "expires_in": 60, "id_token": format!("h.{claims}.s")}),
        );

        assert_eq!((set.access.expose_secret(), set.expires_at), ("at", Some(NOW + 60_000)));
        assert_eq!(
            (set.account.email.as_deref(), set.account.display_name.as_deref()),
            (Some("a@b.example"), Some("Ann"))
        );
    }

    #[test]
    fn a_server_that_does_not_rotate_leaves_the_refresh_token_as_it_is() {
        let grant = Grant { id: "g", flow: Flow::AuthorizationCode };
        let row = set(&json!({"access_token": "a1", "refresh_token": "r1"})).row("c", &grant, NOW);

        let kept = Kept::of(&set(&json!({"access_token": "a2"})).renew(&row, NOW + 1));
        let rotated = Kept::of(&set(&json!({"access_token": "a3", "refresh_token": "r3"})).renew(&row, NOW + 1));

        assert_eq!(kept.refresh.unwrap().expose_secret(), "r1");
        assert_eq!((kept.access.unwrap().expose_secret(), rotated.refresh.unwrap().expose_secret()), ("a2", "r3"));
    }

    #[test]
    fn an_answer_without_a_token_that_can_be_sent_is_broken() {
        for json in
            [json!({}), json!({"access_token": ""}), json!({"access_token": "a\nb"}), json!({"access_token": 1})]
        {
            assert_eq!(TokenSet::read(&json, NOW).unwrap_err().outcome, Outcome::BrokenAnswer, "{json}");
        }
    }

    #[test]
    fn nothing_of_the_tokens_is_shown_to_a_debugger_or_kept_beside_the_secrets() {
        let set = set(&json!({"access_token": "very-secret-a", "refresh_token": "very-secret-r"}));
        let row = set.row("c", &Grant { id: "g", flow: Flow::Import }, NOW);

        assert!(!format!("{set:?} {row:?} {:?}", Kept::of(&row)).contains("very-secret"));
    }
}
