//! TLS: who is trusted, and that every failure is a TLS error which sent nothing.

use std::{cell::RefCell, path::PathBuf, rc::Rc, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::server::*;
use crate::upstream::{
    BodyError, ClientFactory, ConnectStep, Delivery, FactoryError, SendError, SendErrorKind as Kind, collect, send,
};

pub(super) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

pub(super) fn server_config(identity: &str) -> rustls::ServerConfig {
    let certificate = CertificateDer::from_pem_file(fixture(&format!("{identity}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture(&format!("{identity}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

async fn tls_server(identity: &str, answer: &'static [u8]) -> Server {
    let acceptor = TlsAcceptor::from(Arc::new(server_config(identity)));
    serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while read_request(&mut stream).await.is_some() {
                stream.write_all(answer).await.unwrap();
                if answer.ends_with(b"cut") {
                    stream.shutdown().await.unwrap();
                    return;
                }
            }
        }
    })
    .await
}

fn client(trusting: bool) -> awc::Client {
    let mut settings = settings(&["provider.test:*", "wrong.test:*"]);
    if trusting {
        settings.extra_roots.push(fixture("ca.pem"));
    }
    factory_here(settings).client()
}

async fn refused(identity: &str, host: &str, trusting: bool) -> SendError {
    let server = tls_server(identity, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = format!("https://{host}:{}/v1", server.address.port());
    send(&client(trusting), post_to(&url), in_ms(2000)).await.unwrap_err()
}

#[actix_rt::test]
async fn a_trusted_certificate_is_accepted_and_the_connection_is_used_again() {
    let server = tls_server("server", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = client(true);

    for _ in 0..3 {
        let url = format!("https://provider.test:{}/v1", server.address.port());
        let response = send(&client, post_to(&url), in_ms(2000)).await.unwrap();
        assert_eq!(collect(response.body, limits(10)).await.unwrap(), "ok");
    }

    assert_eq!(server.accepted.get(), 1);
}

#[actix_rt::test]
async fn a_wrong_name_an_unknown_authority_and_an_expired_certificate_are_tls_errors() {
    for (identity, host, trusting) in
        [("server", "wrong.test", true), ("server", "provider.test", false), ("expired", "provider.test", true)]
    {
        let error = refused(identity, host, trusting).await;

        assert!(matches!(error.kind, Kind::Tls { certificate: true, .. }), "{identity} {host}: {error:?}");
        assert_eq!(error.delivery, Delivery::NotSent);
    }
}

#[actix_rt::test]
async fn a_server_without_tls_is_a_tls_error_that_blames_no_certificate() {
    let server = serve(|mut stream, _| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        until_closed(&mut stream).await;
    })
    .await;
    let url = format!("https://provider.test:{}/v1", server.address.port());

    let error = send(&client(true), post_to(&url), in_ms(2000)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::Tls { certificate: false, .. }), "{error:?}");
    assert_eq!(error.delivery, Delivery::NotSent);
}

#[actix_rt::test]
async fn a_server_that_prefers_http_2_is_spoken_to_in_http_1_1() {
    let mut config = server_config("server");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (acceptor, chosen) = (TlsAcceptor::from(Arc::new(config)), Rc::new(RefCell::new(None)));
    let seen = Rc::clone(&chosen);
    let server = serve(move |stream, _| {
        let (acceptor, seen) = (acceptor.clone(), Rc::clone(&seen));
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            *seen.borrow_mut() = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let url = format!("https://provider.test:{}/v1", server.address.port());

    let answered = send(&client(true), post_to(&url), in_ms(2000)).await;

    assert!(answered.is_ok(), "{answered:?}");
    assert_eq!(chosen.borrow().as_deref(), Some(&b"http/1.1"[..]));
}

#[actix_rt::test]
async fn a_handshake_that_stalls_meets_its_own_timeout() {
    let server = serve(|mut stream, _| async move { until_closed(&mut stream).await }).await;
    let url = format!("https://provider.test:{}/v1", server.address.port());

    let error = send(&client(true), post_to(&url), in_ms(5000)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::ConnectTimeout { step: ConnectStep::Tls }), "{error:?}");
    assert_eq!(error.delivery, Delivery::NotSent);
}

#[actix_rt::test]
async fn a_chunked_body_cut_politely_inside_tls_is_cut() {
    let server =
        tls_server("server", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ncut\r\n3\r\ncut").await;
    let url = format!("https://provider.test:{}/v1", server.address.port());

    let response = send(&client(true), post_to(&url), in_ms(2000)).await.unwrap();

    assert_eq!(collect(response.body, limits(100)).await.unwrap_err(), BodyError::Cut { received: 6, declared: None });
}

#[test]
fn a_root_file_that_is_missing_or_holds_no_certificate_is_named() {
    for name in ["missing.pem", "server.key"] {
        let mut settings = settings(&[]);
        settings.extra_roots.push(fixture(name));

        let error = ClientFactory::new(settings).unwrap_err();

        assert!(matches!(&error, FactoryError::Root { path, .. } if path.ends_with(name)), "{error:?}");
    }
}

#[actix_rt::test]
async fn an_interim_answer_under_tls_fails_the_attempt_and_retires_the_connection() {
    let server =
        tls_server("server", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (url, client) = (format!("https://provider.test:{}/v1", server.address.port()), client(true));

    for _ in 0..2 {
        let error = send(&client, post_to(&url), in_ms(2000)).await.unwrap_err();
        assert!(matches!(error.kind, Kind::UnexpectedStatus(100)), "{error:?}");
    }

    assert_eq!(server.accepted.get(), 2, "what came behind it is read by nobody");
}
