//! GigaChat: the authorization key for a token of half an hour (developers.sber.ru, "Get an access token"). Each question
//! carries an id of its own, `RqUID`; the answer's `expires_at` is in milliseconds.

use secrecy::SecretString;
use uuid::Uuid;

use super::{TokenRequest, basic};

/// A person's account; those of companies say `GIGACHAT_API_B2B` or `GIGACHAT_API_CORP`.
const SCOPE: &str = "GIGACHAT_API_PERS";

/// The question of this key.
pub(super) fn question(key: &str, scope: Option<&str>) -> TokenRequest {
    TokenRequest {
        authorization: Some(basic(key)),
        headers: vec![("rquid", Uuid::new_v4().to_string())],
        form: vec![("scope", SecretString::from(scope.unwrap_or(SCOPE)))],
        ..TokenRequest::default()
    }
}
