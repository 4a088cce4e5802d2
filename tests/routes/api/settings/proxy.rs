//! `/api/settings/proxy`: real tunnels through real proxies.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use omniroute_testkit::http::{Request, Response};
use omniroute_testkit::proxy::{Kind, Proxy};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::common::scripted::Scripted;
use crate::common::{Site, calm, chat, eventually, state_of};

const PATH: &str = "/api/settings/proxy";
const HOSTS: &str = "127.0.0.1:*,provider.test:*,provider.invalid:*";
/// `name:c4nary` in base64.
const LOGIN: &str = "bmFtZTpjNG5hcnk=";

async fn site() -> Site {
    Site::open(calm().set("upstream.allow_private_hosts", HOSTS)).await
}

fn at(proxy: &Proxy, kind: &str) -> Value {
    json!({"type": kind, "host": "127.0.0.1", "port": proxy.addr.port()})
}

async fn send(site: &Site, method: &str, path: &str, body: Value) -> Response {
    site.admin.send(Request::new(method, path).json(&body)).await
}

#[tokio::test]
async fn the_nearer_level_wins_and_direct_goes_past() {
    let site = site().await;
    let (global, provider, combo, key) = (
        Proxy::start(Kind::Http, None).await,
        Proxy::start(Kind::Socks5, None).await,
        Proxy::start(Kind::Http, None).await,
        Proxy::start(Kind::Socks5, None).await,
    );
    let connection = site.at_a.connections[0].clone();
    let counts = || [&global, &provider, &combo, &key].map(|proxy| proxy.asked().len());
    // A tunnel is used again, so each step has to open its own: the counts grow by one where a way is new.
    site.admin.put(PATH, &json!({"level": "global", "proxy": at(&global, "http")})).await;
    assert_eq!((site.ask(false).await.status(), counts()), (200, [1, 0, 0, 0]));
    site.admin.put(PATH, &json!({"level": "provider", "id": "a", "proxy": at(&provider, "socks5")})).await;
    assert_eq!((site.ask(true).await.status(), counts()), (200, [1, 1, 0, 0]));
    site.admin.put(PATH, &json!({"level": "combo", "id": "team", "proxy": at(&combo, "http")})).await;
    assert_eq!((site.ask_team(false).await.status(), counts()), (200, [1, 1, 1, 0]));
    site.admin.put(PATH, &json!({"level": "key", "id": connection, "proxy": at(&key, "socks5")})).await;
    assert_eq!((site.ask_team(false).await.status(), counts()), (200, [1, 1, 1, 1]));
    let resolved = site.admin.get(&format!("{PATH}?resolve={connection}")).await;
    assert_eq!((&resolved["level"], &resolved["proxy"]["port"]), (&json!("key"), &json!(key.addr.port())));

    site.admin.put(PATH, &json!({"keys": {connection.clone(): "direct"}})).await;
    assert_eq!((site.ask_team(false).await.status(), counts()), (200, [1, 1, 1, 1]));
    site.admin.delete(&format!("{PATH}?level=key&id={connection}")).await;
    site.admin.put(PATH, &json!({"global": null, "providers": {"a": null}, "combos": {"team": null}})).await;
    assert_eq!((site.ask_team(false).await.status(), counts()), (200, [1, 1, 1, 1]));
    let empty = json!({"global": null, "providers": {}, "combos": {}, "keys": {}, "version": 7});
    assert_eq!(site.admin.get(PATH).await, empty);
}

#[tokio::test]
async fn logins_are_sent_sealed_masked_and_kept_for_their_own_place_only() {
    const CANARY: &str = "c4nary";
    let mut site = site().await;
    let (http, socks) =
        (Proxy::start(Kind::Http, Some(LOGIN)).await, Proxy::start(Kind::Socks5, Some("name:c4nary")).await);
    let url = |kind: &str, proxy: &Proxy| format!("{kind}://name:{CANARY}@{}", proxy.addr);

    let set = json!({"providers": {"a": url("http", &http), "b": url("socks5h", &socks)}});
    let shown = site.admin.put(PATH, &set).await;
    let version = shown["version"].clone();
    let answers = [site.ask(false).await, site.gateway.ask(&chat("b/m", false)).await];
    assert_eq!(answers.map(|answer| answer.status()), [200, 200], "{}", site.gateway.log());
    assert_eq!(shown["providers"][&site.at_a.node]["password"], "***");
    assert!(!shown.to_string().contains(CANARY), "{shown}");
    assert_eq!(http.asked()[0].login.as_deref(), Some(LOGIN));
    assert_eq!(socks.asked()[0].login.as_deref(), Some("name:c4nary"));

    // What was shown may come back; the stored password stays, but it goes to no other place.
    let mut back = shown["providers"][&site.at_a.node].clone();
    site.admin.put(PATH, &json!({"level": "provider", "id": "a", "proxy": back, "version": version})).await;
    site.gateway.restart().await;
    assert_eq!(site.ask(false).await.status(), 200, "the password is still known after a restart");
    site.admin = site.gateway.admin().await;
    let thief = Proxy::start(Kind::Http, Some("nothing fits")).await;
    back["port"] = json!(thief.addr.port());
    site.admin.put(PATH, &json!({"level": "provider", "id": "a", "proxy": back})).await;
    assert_eq!(site.ask(false).await.status(), 502);
    assert!(thief.asked().iter().all(|asked| asked.login.as_deref() != Some(LOGIN)), "{:?}", thief.asked());
    let files = std::fs::read_dir(&site.gateway.data_dir).unwrap().map(|file| file.unwrap().path());
    for file in files.filter(|file| file.is_file()) {
        assert!(!String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains(CANARY), "{}", file.display());
    }
    assert!(!site.gateway.log().contains(CANARY));
}

#[tokio::test]
async fn a_proxy_that_fails_blames_nobody_else_and_nothing_goes_past_it() {
    let site = site().await;
    let proxy = Proxy::start(Kind::Http, Some(LOGIN)).await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = json!({"type": "socks5", "host": "127.0.0.1", "port": gone.port()});

    for proxy in [at(&proxy, "http"), dead.clone(), at(&proxy, "socks5")] {
        site.admin.put(PATH, &json!({"level": "provider", "id": "a", "proxy": proxy})).await;
        let alone = site.ask(false).await;
        assert_eq!((alone.status(), &alone.json()["error"]["code"]), (502, &json!("proxy_error")), "{}", alone.text());
        assert_eq!(site.ask_team(true).await.header("x-omniroute-attempts"), Some("2"), "others still serve");
    }
    assert_eq!(site.a.control.stats().total.started, 0, "nothing went past the proxy");
    let state = eventually(crate::common::PATIENCE, async || {
        let now = state_of(&site.admin, &site.at_a.connections[0]).await;
        (now["lastError"]["outcome"] == "proxy_error").then_some(now)
    });
    let state = state.await.expect("the report of the connection");
    assert_eq!((&state["breaker"], &state["counts"]["windowFailures"]), (&json!("CLOSED"), &json!(0)), "{state}");

    let mut with_fallback = dead;
    with_fallback["fallbackToDirect"] = json!(true);
    site.admin.put(PATH, &json!({"level": "provider", "id": "a", "proxy": with_fallback})).await;
    assert_eq!((site.ask(false).await.status(), site.a.control.stats().total.started), (200, 1));
}

#[tokio::test]
async fn a_provider_that_the_proxy_cannot_reach_is_the_providers_fault() {
    let site = site().await;
    let (http, socks) = (Proxy::start(Kind::Http, None).await, Proxy::start(Kind::Socks5, None).await);
    http.refuse_with(502);
    // Connection refused, in the words of SOCKS.
    socks.refuse_with(5);

    for proxy in [at(&http, "http"), at(&socks, "socks5")] {
        site.admin.put(PATH, &json!({"global": proxy})).await;
        let answer = site.ask(false).await;
        assert_eq!(
            (answer.status(), &answer.json()["error"]["code"]),
            (502, &json!("bad_gateway")),
            "{}",
            answer.text()
        );
    }
    let failures = eventually(crate::common::PATIENCE, async || {
        let now = state_of(&site.admin, &site.at_a.connections[0]).await;
        (now["counts"]["windowFailures"] == 2).then_some(())
    });
    failures.await.expect("both counted");
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// A provider that speaks TLS under the name `provider.test` and always answers the same.
async fn secure_provider() -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
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
    let message = json!({"role": "assistant", "content": "secure"});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let body = json!({"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}).to_string();
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut asked = [0; 16 * 1024];
            drop(stream.read(&mut asked).await);
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    addr
}

#[tokio::test]
async fn tls_ends_at_the_provider_and_names_are_the_proxys_to_resolve() {
    let ca = fixture("ca.pem").display().to_string();
    let builder = calm().set("upstream.allow_private_hosts", HOSTS).set("upstream.extra_roots", &ca);
    let site = Site::open(builder).await;
    let provider = secure_provider().await;
    let node = site.admin.create_node("secure", &format!("https://provider.test:{}/v1", provider.port())).await;
    site.admin.create_connection(&node, "secure", "sk-secure").await;

    for (kind, word) in [(Kind::Http, "http"), (Kind::Socks5, "socks5")] {
        let proxy = Proxy::start(kind, None).await;
        site.admin.put(PATH, &json!({"level": "provider", "id": "secure", "proxy": at(&proxy, word)})).await;
        let answer = site.gateway.ask(&chat("secure/m", false)).await;
        assert_eq!(answer.status(), 200, "{word}: {}", answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "secure");
        assert_eq!(proxy.asked()[0].goal, format!("provider.test:{}", provider.port()));
    }
}

#[tokio::test]
async fn lists_tests_and_tokens_take_the_same_way() {
    let site = site().await;
    let proxy = Proxy::start(Kind::Http, None).await;
    let tokens = Scripted::start(|_, _| (200, json!({"access_token": "t", "expires_in": 3600}).to_string())).await;
    let data = json!({"baseUrl": site.a.base_url(), "tokenUrl": tokens.url("/token")});
    let watsonx = json!({"provider": "watsonx", "name": "x", "apiKey": "k", "providerSpecificData": data});
    site.admin.create_connection_with(&watsonx).await;
    site.admin.put(PATH, &json!({"global": at(&proxy, "http")})).await;

    let before = proxy.asked().len();
    site.admin.post(&format!("/api/providers/{}/test", site.at_a.connections[0]), &json!({})).await;
    let after_test = proxy.asked().len();
    assert_eq!(site.gateway.ask(&chat("watsonx/granite", false)).await.status(), 200);

    assert!(after_test > before, "the test of a connection goes through the proxy");
    let place = tokens.url("");
    let place = place.trim_start_matches("http://");
    assert!(proxy.asked().iter().any(|asked| asked.goal == place), "{place}: {:?}", proxy.asked());
}

#[tokio::test]
async fn a_proxy_is_no_way_around_the_address_policy() {
    let site = Site::open(calm().set("upstream.allow_private_hosts", "127.0.0.1:*,10.0.0.7:8000")).await;
    let proxy = Proxy::start(Kind::Http, None).await;
    let refused = |proxy: Value| {
        let site = &site;
        async move { send(site, "PUT", PATH, json!({"global": proxy})).await }
    };

    for host in ["10.0.0.8", "169.254.169.254", "localhost", "::1", "0x7f000002", "[fe80::1]"] {
        let answer = refused(json!({"type": "http", "host": host, "port": 3128})).await;
        assert_eq!(answer.status(), 400, "{host}: {}", answer.text());
    }
    for wrong in [
        json!({"host": "p.example", "port": 0}),
        json!({"host": "a b", "port": 1}),
        json!({"type": "ftp", "host": "p.example", "port": 1}),
        json!({"host": "p.example", "port": 1, "pasword": "x"}),
        json!("http://"),
        json!(7),
    ] {
        assert_eq!(refused(wrong.clone()).await.status(), 400, "{wrong}");
    }
    for (level, id) in [("provider", "nobody"), ("key", "nobody"), ("combo", "nobody"), ("moon", "x")] {
        let answer = send(&site, "PUT", PATH, json!({"level": level, "id": id, "proxy": at(&proxy, "http")})).await;
        assert_eq!(answer.status(), 400, "{level}: {}", answer.text());
    }

    // The provider behind the proxy is judged as if there were none.
    let node = site.admin.create_node("inner", "http://10.0.0.7:8000/v1").await;
    site.admin.create_connection(&node, "inner", "sk-x").await;
    site.admin.put(PATH, &json!({"global": at(&proxy, "http")})).await;
    let moved = json!({"baseUrl": "http://169.254.169.254/v1"});
    let answer = send(&site, "PUT", &format!("/api/provider-nodes/{node}"), moved).await;
    assert_eq!(answer.status(), 400, "{}", answer.text());
    assert!(proxy.asked().is_empty());
}

#[tokio::test]
async fn a_test_tells_whether_a_proxy_works_and_nothing_else() {
    let echo = Scripted::start(|_, asked| {
        let body = if asked.path == "/ip" { r#"{"ip":"203.0.113.9"}"# } else { "secret text" };
        (200, body.to_owned())
    });
    let echo = echo.await;
    let builder = calm().set("upstream.allow_private_hosts", HOSTS).set("upstream.proxy_test_url", &echo.url("/ip"));
    let site = Site::open(builder).await;
    let proxy = Proxy::start(Kind::Socks5, Some("name:c4nary")).await;
    let mut body = at(&proxy, "socks5");
    let test = format!("{PATH}/test");

    let without = site.admin.post(&test, &json!({"proxy": body})).await;
    body["username"] = json!("name");
    body["password"] = json!("c4nary");
    let good = site.admin.post(&test, &json!({"proxy": body})).await;
    site.admin.put(PATH, &json!({"level": "global", "proxy": body})).await;
    let stored = site.admin.post(&test, &json!({"level": "global"})).await;

    assert_eq!((&without["success"], &without["publicIp"]), (&json!(false), &Value::Null), "{without}");
    assert!(without["error"].as_str().unwrap().starts_with("The proxy cannot be used"), "{without}");
    assert_eq!((&good["success"], &good["publicIp"]), (&json!(true), &json!("203.0.113.9")), "{good}");
    assert_eq!(good["proxyUrl"], format!("socks5://{}", proxy.addr));
    assert_eq!(stored["success"], true, "{stored}");
    assert!(good["latencyMs"].is_number());
    assert_eq!(send(&site, "POST", &test, json!({})).await.status(), 400);
}
