//! TLS to PostgreSQL: the degrees of trust, and the refusals.
//!
//! The tests with a server need `OMNIROUTE_TEST_POSTGRES_TLS`, a url whose host is `localhost`, and
//! `OMNIROUTE_TEST_POSTGRES_CA`, the authority that signed its certificate for that name.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::bed::{postgres_at, service};
use super::nouns::usage;
use crate::store::db::Access;
use crate::store::pg_tls::{TlsSettings, Tunnel, Verify, take_settings};
use crate::store::{StoreError, location};

fn settings(url: &str) -> Result<Option<TlsSettings>, StoreError> {
    take_settings(&mut url::Url::parse(url).unwrap())
}

fn connect(url: &str) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Ssl {
        #[diesel(sql_type = Bool)]
        ssl: bool,
    }
    let target = location::resolve(url, &PathBuf::from("/nonexistent"), std::time::Duration::from_secs(1))?;
    let mut db = target.connect(Access::Read)?;
    let row: Ssl = diesel::sql_query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").get_result(&mut db)?;
    Ok(row.ssl)
}

/// The server's url with this query, under this host name, or `None` with a loud notice.
fn server(host: &str, query: &str) -> Option<String> {
    let base = service("OMNIROUTE_TEST_POSTGRES_TLS")?;
    let authority = service("OMNIROUTE_TEST_POSTGRES_CA")?;
    let mut url = url::Url::parse(&base).unwrap();
    url.set_host(Some(host)).unwrap();
    url.set_query(Some(&query.replace("$CA", &authority)));
    Some(url.into())
}

#[test]
fn the_url_says_how_much_is_checked() {
    let verify = |query: &str| settings(&format!("postgres://u:p@db.example/x?{query}")).unwrap().map(|tls| tls.verify);

    assert_eq!(verify(""), None);
    assert_eq!(verify("sslmode=disable"), None);
    assert_eq!(verify("sslmode=require"), Some(Verify::Nothing));
    assert_eq!(verify("sslmode=require&sslrootcert=/ca"), Some(Verify::Chain));
    assert_eq!(verify("sslmode=verify-ca&sslrootcert=/ca"), Some(Verify::Chain));
    assert_eq!(verify("sslmode=verify-full"), Some(Verify::Full));
    assert_eq!(verify("sslmode=verify-full&sslrootcert=system"), Some(Verify::Full));
}

#[test]
fn modes_that_fall_back_and_parameters_we_cannot_honour_are_refused() {
    for query in [
        "sslmode=prefer",
        "sslmode=allow",
        "sslmode=",
        "sslmode=verify-ca",
        "sslmode=require&sslcert=/x",
        "sslmode=verify-full&channel_binding=require",
        "sslmode=verify-full&host=/run",
        "sslmode=verify-full&hostaddr=10.0.0.1",
    ] {
        let refused = settings(&format!("postgres://u:canary@db.example/x?{query}"));
        assert!(matches!(&refused, Err(StoreError::Invalid(text)) if !text.contains("canary")), "{query}");
    }
    assert!(settings("postgres:///x?sslmode=verify-full").is_err());
}

#[test]
fn the_other_parameters_stay_in_the_url() {
    let mut url = url::Url::parse("postgres://u@h/x?application_name=a%26b&sslmode=require&options=-cx%3Dy").unwrap();

    take_settings(&mut url).unwrap();

    let left: Vec<_> = url.query_pairs().into_owned().collect();
    assert_eq!(left, [("application_name".into(), "a&b".into()), ("options".into(), "-cx=y".into())]);
}

#[test]
fn the_tunnels_socket_is_private_and_gone_afterwards() {
    let tls = TlsSettings { host: "localhost".into(), port: 5432, verify: Verify::Full, root_file: None };
    let tunnel = Tunnel::start(&tls).unwrap();
    let directory = tunnel.directory().to_owned();

    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(directory.join(".s.PGSQL.5432").exists());
    drop(tunnel);
    assert!(!directory.exists());
}

#[test]
fn a_server_without_tls_is_refused_in_words_and_gets_no_password() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut client, _) = server.accept().unwrap();
        let mut request = [0; 8];
        client.read_exact(&mut request).unwrap();
        client.write_all(b"N").unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        (request, rest)
    });

    let refused = connect(&format!("postgres://u:canary@127.0.0.1:{port}/x?sslmode=require")).unwrap_err();

    assert!(refused.to_string().contains("does not offer TLS"), "{refused}");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert_eq!(heard.join().unwrap(), ([0, 0, 0, 8, 4, 210, 22, 47], Vec::new()));
}

#[test]
fn a_root_file_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, "nothing here").unwrap();

    for path in [file, dir.path().join("missing.pem")] {
        let url = format!("postgres://u@h.example/x?sslmode=verify-full&sslrootcert={}", path.display());
        let refused = connect(&url).unwrap_err();
        assert!(matches!(&refused, StoreError::Invalid(text) if text.contains("sslrootcert")), "{refused:?}");
    }
}

#[test]
fn a_server_with_the_right_certificate_is_talked_to_under_tls() {
    for (host, query) in [
        ("localhost", "sslmode=verify-full&sslrootcert=$CA"),
        ("localhost", "sslmode=verify-ca&sslrootcert=$CA"),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=$CA"),
        ("127.0.0.1", "sslmode=require&sslrootcert=$CA"),
        ("127.0.0.1", "sslmode=require"),
    ] {
        let Some(url) = server(host, query) else { return };
        assert!(connect(&url).unwrap(), "{host} {query}");
    }
}

#[tokio::test]
async fn a_store_works_through_the_tunnel_and_survives_a_restart_of_the_server() {
    let Some(base) = service("OMNIROUTE_TEST_POSTGRES_TLS") else { return };
    let Some(authority) = service("OMNIROUTE_TEST_POSTGRES_CA") else { return };
    let bed = postgres_at(base, &format!("&sslmode=verify-full&sslrootcert={authority}"));
    let batch: Vec<_> = (0..2_000).map(|n| usage(&format!("r{n}"), n)).collect();

    assert_eq!(bed.store.usage().insert_batch(batch.clone()).await.unwrap(), 2_000);
    bed.cut_server_connections();
    assert_eq!(bed.store.usage().insert_batch(vec![usage("new", 1)]).await.unwrap(), 1);
    assert_eq!(bed.store.usage().list(5_000).await.unwrap().len(), 2_001);
}

#[test]
fn a_server_under_another_name_or_from_another_authority_is_refused() {
    let Some(other_name) = server("127.0.0.1", "sslmode=verify-full&sslrootcert=$CA") else { return };
    let Some(other_authority) = server("localhost", "sslmode=verify-full") else { return };

    let by_name = connect(&other_name).unwrap_err();
    let by_authority = connect(&other_authority).unwrap_err();

    assert!(matches!(by_name, StoreError::Unavailable(_)) && by_name.to_string().contains("certificate"), "{by_name}");
    assert!(by_authority.to_string().contains("UnknownIssuer"), "{by_authority}");
}
