//! Secrets that are looked for wherever they must not be: in answers, copies, files and the log.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use omniroute_testkit::admin::Admin;
use omniroute_testkit::gateway::Gateway;
use omniroute_testkit::http::Request;
use serde_json::json;

use super::{PATIENCE, eventually};

/// What they are called, and they.
pub type Secrets = Vec<(&'static str, String)>;

/// A secret in each form in which it could leave.
pub fn encodings(secret: &str) -> Vec<(&'static str, String)> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = secret
        .bytes()
        .map(|byte| match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect();
    let escaped = json!(secret).to_string();
    vec![
        ("plain", secret.to_owned()),
        ("base64", STANDARD_NO_PAD.encode(secret)),
        ("base64url", URL_SAFE_NO_PAD.encode(secret)),
        ("hex", hex),
        ("percent", percent),
        ("json", escaped.trim_matches('"').to_owned()),
        ("reversed", secret.chars().rev().collect()),
    ]
}

/// Which secret stands in these bytes, and how.
pub fn found(bytes: &[u8], secrets: &[(&'static str, String)]) -> Vec<String> {
    let shown = bytes.to_ascii_lowercase();
    let holds = |needle: &str| memchr::memmem::find(&shown, needle.to_ascii_lowercase().as_bytes()).is_some();
    let forms = secrets.iter().flat_map(|(name, secret)| encodings(secret).into_iter().map(move |form| (name, form)));
    forms.filter(|(_, (_, text))| holds(text)).map(|(name, (how, _))| format!("{name} as {how}")).collect()
}

/// What an archive holds, or the bytes as they are.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    match flate2::read::GzDecoder::new(bytes).read_to_end(&mut whole) {
        Ok(_) => whole,
        Err(_) => bytes.to_vec(),
    }
}

/// Every secret that the gateway tells an operator, writes to its log, or leaves in a file: in each answer that can be had
/// without a parameter, in each connection's, in a backup, an export, an archive and a bundle.
pub async fn told(gateway: &Gateway, admin: &Admin, secrets: &[(&'static str, String)]) -> Vec<String> {
    let document = admin.get("/api/openapi.json").await;
    let connections = admin.get("/api/providers").await;
    let connections = connections["connections"].as_array().unwrap().clone();
    let mut paths: Vec<String> = connections
        .iter()
        .flat_map(|one| ["", "/models"].map(|end| format!("/api/providers/{}{end}", one["id"].as_str().unwrap())))
        .collect();
    let reads = document["paths"].as_object().unwrap().iter().filter(|(_, operations)| operations["get"].is_object());
    paths.extend(reads.map(|(path, _)| path.clone()).filter(|path| !path.contains('{')));
    paths.push("/api/compliance/audit-log?limit=500".to_owned());
    assert!(paths.len() > 40, "{paths:?}");
    admin.put("/api/db-backups", &json!({})).await;

    let mut told = Vec::new();
    let mut look = |place: &str, bytes: &[u8]| {
        told.extend(found(bytes, secrets).into_iter().map(|what| format!("{place}: {what}")));
    };
    for path in &paths {
        look(path, &unpacked(&admin.send(Request::get(path)).await.body));
    }
    let logged = eventually(PATIENCE, async || Some(gateway.log()).filter(|log| log.contains("\"serving\""))).await;
    look("the log", logged.expect("a log").as_bytes());
    for file in files(&gateway.data_dir) {
        look(&file.display().to_string(), &unpacked(&std::fs::read(&file).unwrap_or_default()));
    }
    told
}

/// Every file under a folder: database, journal, backups.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
