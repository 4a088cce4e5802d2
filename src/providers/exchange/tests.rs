use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::resilience::outcome::Outcome;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rstest::rstest;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::*;

/// Test-only, worthless outside these tests.
const KEY: &str = include_str!("../../../tests/fixtures/service_account.key");
const NOW: i64 = 1_750_000_000;

fn account() -> Value {
    json!({"type": "service_account", "project_id": "acme-1", "private_key_id": "kid-1", "private_key": KEY,
        "client_email": "me@acme-1.iam.gserviceaccount.com"})
}

fn planned(provider: &str, credential: &str, data: Value) -> Result<Plan, String> {
    plan(Catalog::builtin().get(provider).unwrap(), Some(&SecretString::from(credential)), &data)
}

fn form(request: &TokenRequest) -> Vec<(&str, &str)> {
    request.form.iter().map(|(name, value)| (*name, value.expose_secret())).collect()
}

#[test]
fn a_service_account_signs_a_token_that_its_public_key_verifies() {
    let exchange = planned("vertex", &account().to_string(), json!({})).unwrap().exchange.unwrap();

    let request = question(&exchange, NOW).unwrap();

    let form = form(&request);
    assert_eq!(form[0], ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"));
    let (signed, signature) = form[1].1.rsplit_once('.').unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let public = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap().public_key().as_ref().to_vec();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).verify(signed.as_bytes(), &signature).unwrap();
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "kid-1"}));
    let claims = json!({"iss": "me@acme-1.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token", "iat": NOW, "exp": NOW + 3_600});
    assert_eq!(parts[1], claims);
}

#[test]
fn the_account_says_where_and_the_connection_says_it_louder() {
    let mut own = account();
    own["token_uri"] = json!("https://token.example/t");

    let usual = planned("vertex", &account().to_string(), json!({})).unwrap();
    let named = planned("vertex", &own.to_string(), json!({})).unwrap();
    let louder = planned("vertex", &own.to_string(), json!({"tokenUrl": "https://inside.example/t"})).unwrap();

    let url = |plan: &Plan| plan.exchange.as_ref().unwrap().token_url.clone();
    assert_eq!(url(&usual), "https://oauth2.googleapis.com/token");
    assert_eq!(url(&named), "https://token.example/t");
    assert_eq!(url(&louder), "https://inside.example/t");
    assert_eq!(usual.variables.get("project").map(String::as_str), Some("acme-1"));
}

#[rstest]
#[case("vertex", "ya29.plain-token")]
#[case("sap", "plain-token")]
#[case("openai", "sk-plain")]
fn what_is_a_token_already_is_sent_as_it_is(#[case] provider: &str, #[case] credential: &str) {
    assert!(planned(provider, credential, json!({})).unwrap().exchange.is_none());
}

#[rstest]
#[case("vertex", "{\"client_email\":\"very-secret\"}", json!({}))]
#[case("vertex", "{\"private_key\":\"very-secret\" broken", json!({}))]
#[case("sap", "{\"clientid\":\"very-secret\"}", json!({}))]
#[case("sap", "very-secret:pair", json!({}))]
#[case("watsonx", "very-secret", json!({"tokenUrl": "ftp://x/y"}))]
#[case("watsonx", "very-secret", json!({"tokenUrl": "https://a:b@x/y"}))]
fn what_cannot_be_exchanged_is_refused_without_quoting_it(
    #[case] provider: &str,
    #[case] credential: &str,
    #[case] data: Value,
) {
    let problem = planned(provider, credential, data).unwrap_err();

    assert!(!problem.contains("very-secret"), "{problem}");
}

#[test]
fn a_private_key_that_is_none_is_refused_when_it_signs() {
    let mut own = account();
    own["private_key"] = json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let exchange = planned("vertex", &own.to_string(), json!({})).unwrap().exchange.unwrap();

    assert!(question(&exchange, NOW).unwrap_err().contains("private key"));
}

#[test]
fn ibm_takes_the_key_in_the_form() {
    let exchange = planned("watsonx", "ibm-key", json!({})).unwrap().exchange.unwrap();

    let request = question(&exchange, NOW).unwrap();

    assert_eq!(exchange.token_url, "https://iam.cloud.ibm.com/identity/token");
    let grant = ("grant_type", "urn:ibm:params:oauth:grant-type:apikey");
    assert_eq!((form(&request), request.authorization.is_none()), (vec![grant, ("apikey", "ibm-key")], true));
}

#[rstest]
#[case("Y2xpZW50OnNlY3JldA==")]
#[case("client:secret")]
fn gigachat_takes_both_forms_of_its_key_and_an_id_for_each_question(#[case] credential: &str) {
    let exchange = planned("gigachat", credential, json!({"scope": "GIGACHAT_API_CORP"})).unwrap().exchange.unwrap();

    let requests = [question(&exchange, NOW).unwrap(), question(&exchange, NOW).unwrap()];

    let sent = requests[0].authorization.as_ref().unwrap().expose_secret();
    assert_eq!(sent, format!("Basic {}", BASE64_STANDARD.encode("client:secret")));
    assert_eq!(form(&requests[0]), [("scope", "GIGACHAT_API_CORP")]);
    assert!(requests[0].headers[0].0 == "rquid" && requests[0].headers != requests[1].headers);
}

#[test]
fn a_service_key_of_sap_knows_its_places() {
    let key = json!({"clientid": "id", "clientsecret": "s", "url": "https://acme.authentication.eu10.hana.ondemand.com/",
        "serviceurls": {"AI_API_URL": "https://api.ai.prod.eu-central-1.aws.ml.hana.ondemand.com"}});

    let planned = planned("sap", &key.to_string(), json!({})).unwrap();

    let exchange = planned.exchange.unwrap();
    assert_eq!(exchange.token_url, "https://acme.authentication.eu10.hana.ondemand.com/oauth/token");
    assert_eq!(planned.variables["host"], "api.ai.prod.eu-central-1.aws.ml.hana.ondemand.com");
    let request = question(&exchange, NOW).unwrap();
    assert_eq!(request.authorization.as_ref().unwrap().expose_secret(), "Basic aWQ6cw==");
    assert_eq!(form(&request), [("grant_type", "client_credentials")]);
}

#[rstest]
#[case(r#"{"access_token":"t","expires_in":3599,"token_type":"Bearer"}"#, 3_599_000)]
#[case(r#"{"access_token":"t","expires_in":"60"}"#, 60_000)]
#[case(r#"{"access_token":"t","expires_at":1750001800000}"#, 1_800_000)]
#[case(r#"{"tok":"t","exp":1750000030}"#, 30_000)]
#[case(r#"{"access_token":"t"}"#, 300_000)]
#[case(r#"{"access_token":"t","expires_in":-5}"#, 0)]
#[case(r#"{"access_token":"t","expires_in":1e18}"#, 86_400_000)]
fn the_end_of_a_token_is_read_in_every_dialect(#[case] body: &str, #[case] lives: i64) {
    let minted = reply::read(body.as_bytes(), UnixMillis(NOW * 1_000)).unwrap();

    assert_eq!((minted.value.expose_secret(), minted.expires_at.0 - NOW * 1_000), ("Bearer t", lives));
}

#[rstest]
#[case("")]
#[case("<html>")]
#[case("{}")]
#[case(r#"{"access_token":""}"#)]
#[case(r#"{"access_token":"a\nb"}"#)]
fn an_answer_without_a_token_is_broken(#[case] body: &str) {
    assert_eq!(reply::read(body.as_bytes(), UnixMillis(0)).unwrap_err().outcome, Outcome::BrokenAnswer);
}

#[test]
fn a_refusal_keeps_its_code_and_drops_its_words() {
    let body = br#"{"error":"invalid_grant","error_description":"Invalid JWT: very-secret"}"#;

    let refused = reply::refused(400, body, None);

    assert_eq!((refused.outcome, refused.status), (Outcome::AuthRefused, 400));
    assert!(refused.message.ends_with("status 400: invalid_grant"), "{}", refused.message);
    let outcomes = [401, 403, 429, 503].map(|status| reply::refused(status, b"", None).outcome);
    assert_eq!(outcomes, [Outcome::AuthRefused, Outcome::Forbidden, Outcome::RateLimited, Outcome::ServerFault]);
}

#[test]
fn the_places_on_odd_ports_are_known() {
    assert_eq!(odd_hosts().collect::<Vec<_>>(), ["ngw.devices.sberbank.ru:9443"]);
}

#[test]
fn a_question_shows_nothing_to_a_debugger() {
    let exchange = planned("watsonx", "very-secret", json!({})).unwrap().exchange.unwrap();

    assert!(!format!("{:?}", question(&exchange, NOW).unwrap()).contains("very-secret"));
}
