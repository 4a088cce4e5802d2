//! Rows about TLS, against servers that nobody vouches for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::named;
use crate::common::{Site, calm, state_of};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// A server whose certificate no known authority signed. It would answer whoever shook hands.
async fn unknown(identity: &str) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(fixture(&format!("{identity}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture(&format!("{identity}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            drop(stream.write_all(b"HTTP/1.1 418 No\r\ncontent-length: 0\r\n\r\n").await);
        }
    });
    addr
}

/// A server that takes the greeting and says nothing.
async fn stalling() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {} });
        }
    });
    addr
}

#[tokio::test]
async fn a_certificate_of_nobody_and_a_handshake_that_stalls_move_on_and_count() {
    const LIMIT: u64 = 500;
    let site = Site::open(calm().set("upstream.connect_timeout_ms", &LIMIT.to_string())).await;
    let servers = [("own", unknown("server").await), ("old", unknown("expired").await), ("mute", stalling().await)];

    for (name, addr) in servers {
        let node = site.admin.create_node(name, &format!("https://{addr}/v1")).await;
        let connection = site.admin.create_connection(&node, name, "sk-x").await;
        site.admin.create_combo(&format!("around-{name}"), "priority", &[&format!("{name}/m"), "b/m"]).await;

        let begin = Instant::now();
        let alone = site.gateway.ask(&named(&format!("{name}/m"), false, name)).await;
        let took = begin.elapsed();
        let other = site.gateway.ask(&named(&format!("around-{name}"), true, &format!("not-{name}"))).await;

        let code = if name == "mute" { "bad_gateway" } else { "tls" };
        assert_eq!((alone.status(), &alone.json()["error"]["code"]), (502, &code.into()), "{name}: {}", alone.text());
        assert_eq!(site.record(name).await.outcome, "connect_failed", "{name}");
        assert!(took < Duration::from_millis(LIMIT + 500), "{name}: {took:?}");
        assert_eq!((other.status(), other.header("x-omniroute-attempts")), (200, Some("2")), "{name}");
        let now = state_of(&site.admin, &connection).await;
        assert_eq!(now["counts"]["windowFailures"], 2, "{name}: {now}");
    }
}
