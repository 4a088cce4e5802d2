//! Broken answers, each with the error it has to become.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpListener, time::sleep};

use super::server::*;
use crate::upstream::{BodyError, ConnectStep, Delivery, SendError, SendErrorKind as Kind, collect, send};

async fn failure(server: &Server) -> SendError {
    send(&factory().client(), post(server), in_ms(1000)).await.unwrap_err()
}

async fn body_of(server: &Server, cap: usize) -> Result<bytes::Bytes, BodyError> {
    let response = send(&factory().client(), post(server), in_ms(1000)).await.unwrap();
    collect(response.body, limits(cap)).await
}

#[actix_rt::test]
async fn a_whole_answer_comes_through_and_the_request_is_as_written() {
    let seen: Rc<RefCell<String>> = Rc::default();
    let copy = Rc::clone(&seen);
    let server = serve(move |mut stream, _| {
        let seen = Rc::clone(&copy);
        async move {
            *seen.borrow_mut() = read_request(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        }
    })
    .await;

    let response = send(&factory().client(), post(&server), in_ms(1000)).await.unwrap();

    assert_eq!(response.status.as_u16(), 429);
    assert_eq!(response.headers.get("retry-after").unwrap(), "7");
    assert_eq!(response.declared_length, Some(2));
    assert_eq!(collect(response.body, limits(10)).await.unwrap(), "no");
    let request = seen.borrow().to_ascii_lowercase();
    assert!(request.starts_with("post /v1/chat/completions http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
    assert!(request.contains("\r\nuser-agent: omniroute/"), "{request}");
    assert!(request.contains("\r\nx-api-key: secret\r\n"), "{request}");
}

#[actix_rt::test]
async fn a_name_that_resolves_to_this_machine_is_refused_and_nothing_is_sent() {
    let server = answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = factory_here(settings(&["127.0.0.1:*"])).client();
    let request = post_to("https://api.example.com/v1");

    let error = send(&client, request, in_ms(1000)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::Refused(_)), "{error:?}");
    assert_eq!(error.delivery, Delivery::NotSent);
    assert_eq!(server.accepted.get(), 0);
}

#[actix_rt::test]
async fn the_system_resolver_does_not_open_localhost_either() {
    let server = answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = format!("http://localhost:{}/", server.address.port());

    let refused = send(&factory().client(), post_to(&url), in_ms(1000)).await.unwrap_err();
    let listed = crate::upstream::ClientFactory::new(settings(&["localhost:*"])).unwrap().client();
    let allowed = send(&listed, post_to(&url), in_ms(1000)).await;

    assert!(matches!(refused.kind, Kind::Refused(_)), "{refused:?}");
    assert!(allowed.is_ok(), "{allowed:?}");
    assert_eq!(server.accepted.get(), 1);
}

#[actix_rt::test]
async fn a_refused_connection_is_known_not_to_have_sent_anything() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();

    let error = send(&factory().client(), post_to(&format!("http://{closed}/")), in_ms(1000)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::Connect { kind: io::ErrorKind::ConnectionRefused, .. }), "{error:?}");
    assert_eq!(error.delivery, Delivery::NotSent);
}

#[actix_rt::test]
async fn an_unknown_name_is_a_dns_error() {
    let lookup: crate::upstream::Lookup = std::sync::Arc::new(|_| Err(io::Error::other("NXDOMAIN")));
    let client = crate::upstream::ClientFactory::with_outside(
        settings(&[]),
        crate::upstream::Outside { lookup, ..Default::default() },
    )
    .unwrap()
    .client();

    let error = send(&client, post_to("https://nowhere.example/v1"), in_ms(1000)).await.unwrap_err();

    assert!(matches!(&error.kind, Kind::Dns { host, .. } if host == "nowhere.example"), "{error:?}");
    assert!(!error.request_sent());
}

#[actix_rt::test]
async fn a_name_server_that_hangs_costs_the_connect_timeout_and_not_the_deadline() {
    let lookup: crate::upstream::Lookup = std::sync::Arc::new(|_| {
        std::thread::sleep(Duration::from_millis(900));
        Ok(Vec::new())
    });
    let client = crate::upstream::ClientFactory::with_outside(
        settings(&[]),
        crate::upstream::Outside { lookup, ..Default::default() },
    )
    .unwrap()
    .client();
    let started = std::time::Instant::now();

    let error = send(&client, post_to("https://slow.example/v1"), in_ms(5000)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::ConnectTimeout { step: ConnectStep::Tcp }), "{error:?}");
    assert_eq!(error.delivery, Delivery::NotSent);
    assert!(started.elapsed() < Duration::from_millis(850), "{:?}", started.elapsed());
}

#[actix_rt::test]
async fn a_redirect_is_an_error_that_names_the_host_only_and_the_key_goes_nowhere() {
    let other = answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let location = format!("http://{}/secret?token=1", other.address);
    let server = serve(move |mut stream, _| {
        let location = location.clone();
        async move {
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            until_closed(&mut stream).await;
        }
    })
    .await;

    let error = failure(&server).await;

    assert!(
        matches!(&error.kind, Kind::Redirect { status: 302, host: Some(host) } if host == "127.0.0.1"),
        "{error:?}"
    );
    assert!(!error.to_string().contains("token"));
    assert_eq!(error.delivery, Delivery::Answered);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(other.accepted.get(), 0);
}

#[actix_rt::test]
async fn a_storm_of_1xx_is_an_error_at_once() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;

    let error = failure(&server).await;

    assert!(matches!(error.kind, Kind::UnexpectedStatus(100)), "{error:?}");
}

#[actix_rt::test]
async fn a_change_of_protocol_and_an_endless_interim_head_are_errors() {
    let upgrade = answer("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n").await;
    let endless = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 103 Early Hints\r\n").await;
        while stream.write_all(b"link: </a>\r\n").await.is_ok() {}
    })
    .await;

    assert!(matches!(failure(&upgrade).await.kind, Kind::UnexpectedStatus(101)));
    let error = failure(&endless).await;
    assert!(matches!(error.kind, Kind::Protocol(_)), "{error:?}");
}

#[actix_rt::test]
async fn a_counted_body_that_ends_early_is_cut() {
    let server = answer("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n8 bytes!").await;

    let error = body_of(&server, 1000).await.unwrap_err();

    assert_eq!(error, BodyError::Cut { received: 8, declared: Some(500) });
}

#[actix_rt::test]
async fn a_chunked_body_without_its_last_chunk_is_cut() {
    let between = answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    let within = answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nabc").await;
    let in_head = answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4").await;

    for server in [between, within, in_head] {
        assert_eq!(body_of(&server, 1000).await.unwrap_err(), BodyError::Cut { received: 3, declared: None });
    }
}

#[actix_rt::test]
async fn whole_chunked_bodies_are_whole_whether_the_connection_stays_or_closes() {
    let closing =
        answer("HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    let staying = answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").await;
    let old = answer("HTTP/1.0 200 OK\r\n\r\nabc").await;

    for server in [closing, staying, old] {
        assert_eq!(body_of(&server, 1000).await.unwrap(), "abc");
    }
}

#[actix_rt::test]
async fn a_broken_chunk_size_is_a_protocol_error() {
    let server = answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n").await;

    let error = body_of(&server, 1000).await.unwrap_err();

    assert!(matches!(error, BodyError::Protocol(_)), "{error:?}");
}

#[actix_rt::test]
async fn a_connection_reset_within_the_body_is_a_transport_error() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
        sleep(Duration::from_millis(50)).await;
        stream.set_zero_linger().unwrap();
    })
    .await;

    let error = body_of(&server, 1000).await.unwrap_err();

    assert!(matches!(error, BodyError::Transport { received: 3, .. }), "{error:?}");
}

#[actix_rt::test]
async fn a_body_over_the_cap_is_refused_by_its_length_and_by_its_bytes() {
    let counted = answer("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world").await;
    let chunked = answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n").await;

    assert_eq!(body_of(&counted, 10).await.unwrap_err(), BodyError::TooLarge { cap: 10 });
    assert_eq!(body_of(&chunked, 10).await.unwrap_err(), BodyError::TooLarge { cap: 10 });
    assert_eq!(body_of(&chunked, 11).await.unwrap(), "hello world");
}

#[actix_rt::test]
async fn a_body_that_stalls_or_never_ends_is_ended_by_its_own_limit() {
    let silent = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
        until_closed(&mut stream).await;
    })
    .await;
    let endless = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        while stream.write_all(b"1\r\na\r\n").await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    let stalled = body_of(&silent, 1000).await.unwrap_err();
    let response = send(&factory().client(), post(&endless), in_ms(1000)).await.unwrap();
    let late = collect(response.body, crate::upstream::CollectLimits { deadline: in_ms(300), ..limits(1 << 20) }).await;

    assert_eq!(stalled, BodyError::Idle);
    assert_eq!(late.unwrap_err(), BodyError::Deadline);
}

#[actix_rt::test]
async fn a_server_that_never_answers_meets_the_head_deadline() {
    let server = serve(|mut stream, _| async move { until_closed(&mut stream).await }).await;
    let started = std::time::Instant::now();

    let error = send(&factory().client(), post(&server), in_ms(200)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::HeadTimeout), "{error:?}");
    assert_eq!(error.delivery, Delivery::MaybeAccepted);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[actix_rt::test]
async fn a_head_that_drips_meets_the_same_deadline() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: ".iter().chain(std::iter::repeat(&b'a')) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    let error = send(&factory().client(), post(&server), in_ms(250)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::HeadTimeout), "{error:?}");
}

#[actix_rt::test]
async fn a_connection_closed_or_reset_before_any_byte_is_a_reset_that_may_have_been_accepted() {
    let fin = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    let rst = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;

    for server in [fin, rst] {
        let error = failure(&server).await;

        assert!(matches!(error.kind, Kind::Reset { .. }), "{error:?}");
        assert_eq!(error.delivery, Delivery::MaybeAccepted);
        assert_eq!(server.accepted.get(), 1, "a fresh connection is not tried again");
    }
}

#[actix_rt::test]
async fn answers_that_are_not_http_or_carry_too_many_headers_are_protocol_errors() {
    let garbage = answer("SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    let bomb = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        let headers: String = (0..5000).map(|n| format!("x-{n}: v\r\n")).collect();
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes()).await;
        until_closed(&mut stream).await;
    })
    .await;

    for server in [garbage, bomb] {
        let error = failure(&server).await;

        assert!(matches!(error.kind, Kind::Protocol(_)), "{error:?}");
    }
}

#[actix_rt::test]
async fn a_compressed_answer_is_refused_with_its_status() {
    let server = answer("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc").await;
    let identity = answer("HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-length: 3\r\n\r\nabc").await;

    let error = failure(&server).await;

    assert!(matches!(&error.kind, Kind::Encoded { status: 200, encoding } if encoding == "gzip"), "{error:?}");
    assert_eq!(body_of(&identity, 10).await.unwrap(), "abc");
}

#[actix_rt::test]
async fn a_success_without_length_or_chunks_is_an_error_and_not_an_empty_answer() {
    let server = answer("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: hello\n\n").await;
    let failing = answer("HTTP/1.1 503 Unavailable\r\n\r\n").await;

    let error = failure(&server).await;

    assert!(matches!(error.kind, Kind::Undelimited { status: 200 }), "{error:?}");
    assert_eq!(send(&factory().client(), post(&failing), in_ms(1000)).await.unwrap().status.as_u16(), 503);
}

#[actix_rt::test]
async fn dropping_the_request_or_the_body_closes_the_connection_within_100_ms() {
    let hanging = serve(|mut stream, _| async move { until_closed(&mut stream).await }).await;
    let streaming = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await.unwrap();
        until_closed(&mut stream).await;
    })
    .await;
    let client = factory().client();

    let abandoned = tokio::time::timeout(Duration::from_millis(100), send(&client, post(&hanging), in_ms(5000))).await;
    let response = send(&client, post(&streaming), in_ms(1000)).await.unwrap();
    drop(response);
    sleep(Duration::from_millis(100)).await;

    assert!(abandoned.is_err());
    assert_eq!((hanging.accepted.get(), hanging.open.get()), (1, 0));
    assert_eq!((streaming.accepted.get(), streaming.open.get()), (1, 0));
}
