//! Pooled connections: reuse, limits, and the ones that died or must not be used again.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{io::AsyncWriteExt, time::sleep};

use super::server::*;
use crate::upstream::{Caller, SendErrorKind as Kind, collect, send};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn ask(client: &awc::Client, server: &Server) -> String {
    let response = send(client, post(server), in_ms(2000)).await.unwrap();
    String::from_utf8(collect(response.body, limits(1000)).await.unwrap().to_vec()).unwrap()
}

#[actix_rt::test]
async fn a_connection_is_used_again() {
    let server = serve(|mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let client = factory().client();

    for _ in 0..5 {
        assert_eq!(ask(&client, &server).await, "ok");
    }

    assert_eq!(server.accepted.get(), 1);
}

#[actix_rt::test]
async fn a_hundred_and_fifty_streams_at_once_do_not_queue() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await.unwrap();
        until_closed(&mut stream).await;
    })
    .await;
    let client = factory().client();

    let all = join_all((0..150).map(|_| send(&client, post(&server), in_ms(3000)))).await;

    assert_eq!(all.iter().filter(|answer| answer.is_ok()).count(), 150);
    assert_eq!(server.open.get(), 150);
}

#[actix_rt::test]
async fn a_pooled_connection_that_dies_under_the_request_is_invisible() {
    for reset in [false, true] {
        // The first connections answer once and die when they are used again, as a provider does that closes idle ones.
        let server = serve(move |mut stream, number| async move {
            while read_request(&mut stream).await.is_some() {
                if number < 3 && stream.peer_addr().is_ok() && USED.with_borrow_mut(|used| !used.insert(number)) {
                    if reset {
                        stream.set_zero_linger().unwrap();
                    }
                    return;
                }
                sleep(Duration::from_millis(20)).await;
                stream.write_all(OK).await.unwrap();
            }
        })
        .await;
        USED.with_borrow_mut(std::collections::HashSet::clear);
        let client = factory().client();
        join_all((0..3).map(|_| ask(&client, &server))).await;
        assert_eq!(server.accepted.get(), 3);

        assert_eq!(ask(&client, &server).await, "ok");
        assert_eq!(server.accepted.get(), 4, "the second try opens a connection of its own");
    }
}

thread_local! {
    /// Connections that have answered once.
    static USED: std::cell::RefCell<std::collections::HashSet<usize>> = std::cell::RefCell::default();
}

#[actix_rt::test]
async fn a_pooled_connection_that_was_closed_while_idle_is_invisible() {
    let server = answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = factory().client();

    for _ in 0..3 {
        assert_eq!(ask(&client, &server).await, "ok");
        sleep(Duration::from_millis(20)).await;
    }

    assert_eq!(server.accepted.get(), 3);
}

#[actix_rt::test]
async fn the_late_answer_to_one_request_is_never_given_to_the_next() {
    let server = serve(|mut stream, number| async move {
        read_request(&mut stream).await;
        if number == 0 {
            // One more than is skipped.
            stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(9)).await.unwrap();
            sleep(Duration::from_millis(100)).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await;
            until_closed(&mut stream).await;
        } else {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let client = factory().client();

    let first = send(&client, post(&server), in_ms(1000)).await.unwrap_err();
    let second = ask(&client, &server).await;

    assert!(matches!(first.kind, Kind::UnexpectedStatus(100)), "{first:?}");
    assert_eq!(second, "ok");
}

#[actix_rt::test]
async fn interim_answers_before_the_real_one_are_skipped_and_the_connection_is_used_again() {
    let server = serve(|mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <").await.unwrap();
            sleep(Duration::from_millis(20)).await;
            stream.write_all(b"/a>\r\n\r\nHTTP/1.1 20").await.unwrap();
            sleep(Duration::from_millis(20)).await;
            stream.write_all(b"0 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let client = factory().client();

    for _ in 0..3 {
        assert_eq!(ask(&client, &server).await, "ok");
    }

    assert_eq!(server.accepted.get(), 1);
}

#[actix_rt::test]
async fn a_pooled_connection_that_dies_after_an_interim_answer_is_not_tried_again() {
    let server = serve(|mut stream, _| async move {
        read_request(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
    })
    .await;
    let client = factory().client();
    assert_eq!(ask(&client, &server).await, "ok");

    let error = send(&client, post(&server), in_ms(1000)).await.unwrap_err();

    assert!(matches!(error.kind, Kind::Reset { .. }), "{error:?}");
    assert_eq!(server.accepted.get(), 1, "the provider has seen the request");
}

#[actix_rt::test]
async fn a_thread_has_one_client_per_factory() {
    let server = serve(|mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let (first, second) = (factory(), factory());

    ask(&first.thread_client(Caller::default()), &server).await;
    ask(&first.clone().thread_client(Caller::default()), &server).await;
    assert_eq!(server.accepted.get(), 1);
    ask(&second.thread_client(Caller::default()), &server).await;

    assert_eq!(server.accepted.get(), 2);
}

#[actix_rt::test]
async fn a_replaced_factory_takes_its_idle_connections_along() {
    let server = serve(|mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let old = factory();
    ask(&old.thread_client(Caller::default()), &server).await;
    assert_eq!(server.open.get(), 1);

    drop(old);
    let _new = factory().thread_client(Caller::default());
    sleep(Duration::from_millis(50)).await;

    assert_eq!(server.open.get(), 0);
}
