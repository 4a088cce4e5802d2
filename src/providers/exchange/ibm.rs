//! IBM Cloud: an API key for an IAM token (IBM Cloud documentation, "Generating an IBM Cloud IAM token by using an API key").

use secrecy::SecretString;

use super::TokenRequest;

const GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";

/// The question of this key.
pub(super) fn question(key: &str) -> TokenRequest {
    let form = vec![("grant_type", SecretString::from(GRANT)), ("apikey", SecretString::from(key))];
    TokenRequest { form, ..TokenRequest::default() }
}
