//! Signing requests with AWS Signature Version 4. Pure: the time is an argument.
//!
//! The path is encoded once more than it stands in the URL, as every service but S3 wants it: a model's `:` that is `%3A` on
//! the wire is signed as `%253A`.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// The path as it stands in the URL, encoded.
    pub path: &'a str,
    /// The parameters of the query, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// The headers to sign; `host` must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// [`payload_hash`] of the body.
    pub payload_hash: &'a str,
}

/// Who signs.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The public half of the key.
    pub access_key: &'a str,
    /// The secret half.
    pub secret_key: &'a str,
    /// Comes with keys that expire.
    pub session_token: Option<&'a str>,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Where a signature is good.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// Such as `bedrock`.
    pub service: &'a str,
}

/// The hash of a body, as it is signed.
pub fn payload_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// The headers to add: the date, the session's token if there is one, and the authorization. `time` is in seconds since the Unix
/// epoch.
pub fn sign(
    request: &SignedRequest<'_>,
    credentials: &Credentials<'_>,
    scope: &Scope<'_>,
    time: i64,
) -> Vec<(&'static str, String)> {
    let stamp = jiff::Timestamp::from_second(time).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = stamp.get(..8).unwrap_or_default();
    let mut added = vec![("x-amz-date", stamp.clone())];
    added.extend(credentials.session_token.map(|token| ("x-amz-security-token", token.to_owned())));
    let (signed, canonical) = canonical_request(request, &added);
    let place = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{stamp}\n{place}\n{}", payload_hash(canonical.as_bytes()));
    let key = signing_key(credentials.secret_key, date, scope);
    let signature = hex(&hmac(&key, to_sign.as_bytes()));
    let access_key = credentials.access_key;
    let authorization =
        format!("{ALGORITHM} Credential={access_key}/{place}, SignedHeaders={signed}, Signature={signature}");
    added.push(("authorization", authorization));
    added
}

/// The names of the signed headers, and the text that is hashed.
fn canonical_request(request: &SignedRequest<'_>, added: &[(&'static str, String)]) -> (String, String) {
    let own = request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), trimmed(value)));
    let ours = added.iter().map(|(name, value)| ((*name).to_owned(), trimmed(value)));
    let mut headers: Vec<(String, String)> = own.chain(ours).collect();
    // Stable: values of one name keep their order.
    headers.sort_by(|left, right| left.0.cmp(&right.0));
    let mut joined: Vec<(String, String)> = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match joined.last_mut() {
            Some(last) if last.0 == name => last.1 = format!("{},{value}", last.1),
            _ => joined.push((name, value)),
        }
    }
    let names: Vec<&str> = joined.iter().map(|(name, _)| name.as_str()).collect();
    let signed = names.join(";");
    let lines = joined.iter().fold(String::new(), |lines, (name, value)| lines + name + ":" + value + "\n");
    let path = if request.path.is_empty() { "/" } else { request.path };
    let canonical = format!(
        "{}\n{}\n{}\n{lines}\n{signed}\n{}",
        request.method,
        encoded(path, "/"),
        canonical_query(request.query),
        request.payload_hash
    );
    (signed, canonical)
}

fn canonical_query(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> =
        query.iter().map(|(name, value)| (encoded(name, ""), encoded(value, ""))).collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Runs of blanks count as one.
fn trimmed(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn encoded(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || also.as_bytes().contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn signing_key(secret: &str, date: &str, scope: &Scope<'_>) -> [u8; 32] {
    let day = hmac(format!("AWS4{secret}").as_bytes(), date.as_bytes());
    let region = hmac(&day, scope.region.as_bytes());
    let service = hmac(&region, scope.service.as_bytes());
    hmac(&service, b"aws4_request")
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC-SHA-256 accepts keys of every length"));
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}
