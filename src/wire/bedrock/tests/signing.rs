use rstest::rstest;

use super::super::sigv4::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const AUGUST_2015: i64 = 1_440_938_160;
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A request whose signature AWS publishes.
struct Published<'a> {
    method: &'a str,
    service: &'a str,
    query: &'a [(&'a str, &'a str)],
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    time: i64,
    stamp: &'a str,
    signature: &'a str,
}

const LIST_OF_USERS: Published<'_> = Published {
    method: "GET",
    service: "iam",
    query: &[("Action", "ListUsers"), ("Version", "2010-05-08")],
    headers: &[("Host", "iam.amazonaws.com"), ("Content-Type", FORM)],
    body: b"",
    time: AUGUST_2015,
    stamp: "20150830T123600Z",
    signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
};

const QUERY_OUT_OF_ORDER: Published<'_> = Published {
    service: "service",
    query: &[("Param2", "value2"), ("Param1", "value1")],
    headers: &[("Host", "example.amazonaws.com")],
    signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ..LIST_OF_USERS
};

const FORM_OF_2011: Published<'_> = Published {
    method: "POST",
    query: &[],
    body: b"Action=ListUsers&Version=2010-05-08",
    time: 1_315_611_360,
    stamp: "20110909T233600Z",
    signature: "ced6826de92d2bdeed8f846f0bf508e8559e98e4b0199114b84c54174deb456c",
    ..LIST_OF_USERS
};

#[rstest]
#[case(LIST_OF_USERS)]
#[case(QUERY_OUT_OF_ORDER)]
#[case(FORM_OF_2011)]
fn published_examples_have_their_published_signatures(#[case] example: Published<'_>) {
    let Published { method, service, query, headers, time, .. } = example;
    let hash = payload_hash(example.body);
    let request = SignedRequest { method, path: "/", query, headers, payload_hash: &hash };
    let credentials = Credentials { access_key: "AKIDEXAMPLE", secret_key: SECRET, session_token: None };

    let added = sign(&request, &credentials, &Scope { region: "us-east-1", service }, time);

    let signed = if headers.len() == 2 { "content-type;host;x-amz-date" } else { "host;x-amz-date" };
    let date = example.stamp.get(..8).unwrap();
    let expected = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{date}/us-east-1/{service}/aws4_request, SignedHeaders={signed}, \
         Signature={}",
        example.signature
    );
    assert_eq!(added, [("x-amz-date", example.stamp.to_owned()), ("authorization", expected)]);
}

/// The signature is the one that AWS's own library for Python makes of the same request.
#[test]
fn a_path_with_escapes_a_query_and_a_token_are_signed_as_the_service_does() {
    let hash = payload_hash(b"{}");
    let request = SignedRequest {
        method: "POST",
        path: "/model/anthropic.claude-opus-4-6-v1%3A0/converse-stream",
        query: &[("b c", "x/y"), ("a", "1")],
        headers: &[("Host", "bedrock-runtime.us-east-1.amazonaws.com"), ("Content-Type", "application/json")],
        payload_hash: &hash,
    };
    let credentials = Credentials { access_key: "AKIDEXAMPLE", secret_key: "SECRET", session_token: Some("TOK/en==") };

    let added = sign(&request, &credentials, &Scope { region: "us-east-1", service: "bedrock" }, AUGUST_2015);

    let signature = added.last().and_then(|(_, value)| value.rsplit('=').next());
    assert_eq!(signature, Some("d3ed2db8aa079f549a0a290e80d95cf6e3e843e5f1e896303df250596d366ff4"));
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
    assert_eq!(signature(&SignedRequest { headers: &[("HOST", "  h ")], ..request }, &credentials, 0), base);
    assert!(!format!("{credentials:?}").contains("\"S\""));
}
