//! Proxies: over TLS, what they are told, and what they may not be asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::server::*;
use super::tls::{fixture, server_config};
use crate::upstream::{
    ClientFactory, Outside, Proxy, ProxyKind, SendErrorKind as Kind, UpstreamSettings, collect, send,
};

type Goals = std::rc::Rc<std::cell::RefCell<Vec<String>>>;

/// Read a `CONNECT`, note its goal, open the tunnel to this machine.
async fn tunnel<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut stream: S, goals: Goals) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let goal = head.split(' ').nth(1).unwrap().to_owned();
    let port: u16 = goal.rsplit_once(':').unwrap().1.parse().unwrap();
    goals.borrow_mut().push(goal);
    stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
    let mut provider = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    drop(copy_bidirectional(&mut stream, &mut provider).await);
}

/// On a busy machine a tunnel takes its time.
fn patient(exceptions: &[&str]) -> UpstreamSettings {
    UpstreamSettings { connect_timeout: Duration::from_secs(5), ..settings(exceptions) }
}

fn proxy(kind: ProxyKind, host: &str, port: u16) -> Proxy {
    Proxy { kind, host: host.to_owned(), port, login: None, fallback_to_direct: false }
}

#[actix_rt::test]
async fn a_proxy_may_itself_be_spoken_to_over_tls() {
    let goals = Goals::default();
    let (acceptor, seen) = (TlsAcceptor::from(Arc::new(server_config("server"))), goals.clone());
    let server = serve(move |stream, _| {
        let (acceptor, goals) = (acceptor.clone(), seen.clone());
        async move { tunnel(acceptor.accept(stream).await.unwrap(), goals).await }
    })
    .await;
    let provider = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let mut settings = patient(&["provider.test:*"]);
    settings.extra_roots.push(fixture("ca.pem"));
    let client = factory_here(settings).client_through(proxy(ProxyKind::Https, "provider.test", server.address.port()));

    let url = format!("http://provider.test:{}/v1", provider.address.port());
    let response = send(&client, post_to(&url), in_ms(30_000)).await.unwrap();

    assert_eq!(collect(response.body, limits(10)).await.unwrap(), "ok");
    assert_eq!(*goals.borrow(), [format!("provider.test:{}", provider.address.port())]);
}

#[actix_rt::test]
async fn where_names_are_not_trusted_the_proxy_gets_the_address_that_was_checked() {
    let goals = Goals::default();
    let seen = goals.clone();
    let server = serve(move |stream, _| tunnel(stream, seen.clone())).await;
    let provider = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let settings = UpstreamSettings { checked_addresses: true, ..patient(&["provider.test:*"]) };
    let through = proxy(ProxyKind::Http, "provider.test", server.address.port());

    let url = format!("http://provider.test:{}/v1", provider.address.port());
    let client = factory_here(settings).client_through(through);
    send(&client, post_to(&url), in_ms(30_000)).await.unwrap();

    assert_eq!(*goals.borrow(), [format!("127.0.0.1:{}", provider.address.port())]);
}

#[actix_rt::test]
async fn a_name_that_stands_for_a_forbidden_address_is_not_asked_of_the_proxy() {
    let goals = Goals::default();
    let seen = goals.clone();
    let server = serve(move |stream, _| tunnel(stream, seen.clone())).await;
    let metadata = IpAddr::from([169, 254, 169, 254]);
    let lookup = Arc::new(move |_: &str| Ok(vec![metadata]));
    let factory =
        ClientFactory::with_outside(patient(&["127.0.0.1:*"]), Outside { lookup, ..Outside::default() }).unwrap();
    let client = factory.client_through(proxy(ProxyKind::Http, "127.0.0.1", server.address.port()));

    let error = send(&client, post_to("https://rebinding.example/v1"), in_ms(30_000)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::Refused(_)), "{error:?}");
    assert!(goals.borrow().is_empty() && server.accepted.get() == 0);
}

#[actix_rt::test]
async fn an_answer_that_is_none_is_the_proxys_fault() {
    for said in ["HTTP/1.1 407 No\r\n\r\n", "HTTP/1.1 403 No\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200"] {
        let server = serve(move |mut stream, _| async move {
            read_request(&mut stream).await;
            stream.write_all(said.as_bytes()).await.unwrap();
        })
        .await;
        let client = factory_here(patient(&["127.0.0.1:*"])).client_through(proxy(
            ProxyKind::Http,
            "127.0.0.1",
            server.address.port(),
        ));

        let error = send(&client, post_to("http://127.0.0.1:9/v1"), in_ms(30_000)).await.unwrap_err();

        assert!(matches!(error.kind, Kind::Proxy { .. }), "{said:?}: {error:?}");
        assert!(!error.request_sent());
    }
}
