use rstest::rstest;

use super::super::sigv4::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AUGUST_2015: i64 = 1_440_938_160;
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// The requests and signatures that AWS publishes.
#[rstest]
#[case::documented_list_of_users(
    "GET", "iam", &[("Action", "ListUsers"), ("Version", "2010-05-08")],
    &[("Host", "iam.amazonaws.com"), ("Content-Type", FORM)], b"", AUGUST_2015,
    "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
)]
#[case::query_out_of_order(
    "GET", "service", &[("Param2", "value2"), ("Param1", "value1")], &[("Host", "example.amazonaws.com")], b"", AUGUST_2015,
    "host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
)]
#[case::documented_form(
    "POST", "iam", &[], &[("host", "iam.amazonaws.com"), ("Content-type", FORM)],
    b"Action=ListUsers&Version=2010-05-08", 1_315_611_360,
    "content-type;host;x-amz-date", "ced6826de92d2bdeed8f846f0bf508e8559e98e4b0199114b84c54174deb456c"
)]
fn published_examples_have_their_published_signatures(
    #[case] method: &str,
    #[case] service: &str,
    #[case] query: &[(&str, &str)],
    #[case] headers: &[(&str, &str)],
    #[case] body: &[u8],
    #[case] time: i64,
    #[case] signed: &str,
    #[case] signature: &str,
) {
    let hash = payload_hash(body);
    let request = SignedRequest { method, path: "/", query, headers, payload_hash: &hash };
    let credentials = Credentials { access_key: "AKIDEXAMPLE", secret_key: SECRET, session_token: None };

    let added = sign(&request, &credentials, &Scope { region: "us-east-1", service }, time);

    let authorization = &added.iter().find(|(name, _)| *name == "authorization").unwrap().1;
    assert!(authorization.contains(&format!("SignedHeaders={signed}, ")), "{authorization}");
    assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
    assert!(added.contains(&("x-amz-date", if time == AUGUST_2015 { "20150830T123600Z" } else { "20110909T233600Z" }.into())));
}

#[test]
fn a_token_is_sent_and_signed_and_every_part_of_a_request_matters() {
    let hash = payload_hash(b"{}");
    let path = "/model/anthropic.claude-opus-4-6-v1%3A0/converse";
    let request = SignedRequest { method: "POST", path, query: &[], headers: &[("host", "h")], payload_hash: &hash };
    let credentials = Credentials { access_key: "A", secret_key: "S", session_token: Some("T") };
    let scope = Scope { region: "r", service: "bedrock" };
    let signature = |request: &SignedRequest<'_>, credentials: &Credentials<'_>, time| {
        sign(request, credentials, &scope, time).pop().unwrap().1
    };

    let whole = sign(&request, &credentials, &scope, 0);

    assert_eq!(whole[1], ("x-amz-security-token", "T".to_owned()));
    assert!(whole[2].1.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
    let base = whole[2].1.clone();
    assert_eq!(signature(&request, &credentials, 0), base);
    assert_ne!(signature(&request, &credentials, 1), base);
    assert_ne!(signature(&request, &Credentials { session_token: None, ..credentials }, 0), base);
    assert_ne!(signature(&SignedRequest { path: "/model/x/converse", ..request }, &credentials, 0), base);
    assert_eq!(
        signature(&SignedRequest { headers: &[("HOST", "  h ")], ..request }, &credentials, 0),
        base
    );
    assert!(!format!("{credentials:?}").contains("\"S\""));
}
