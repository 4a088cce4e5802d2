//! What no answer, no line of the log and no file may tell, and what no address may reach.

use omniroute_testkit::http::Request;
use omniroute_testkit::mock::MockUpstream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::common::canary::{self, Secrets, encodings, found};
use crate::common::{Site, calm};

/// Characters that every encoding changes.
const PROVIDER_KEY: &str = "sk-canary/provider+\"key\"-4711";
const PASSWORD: &str = "canary pass\\word/with+\"signs\"";
const CLIENT_SECRET: &str = "canary/client+\"secret\"-0815";
const MASTER_KEY: &str = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff";

/// A gateway at TRACE with a secret of each kind, all of them in use.
async fn with_secrets() -> (Site, Secrets) {
    let builder = calm().password(PASSWORD).set("logging.level", "trace").set("storage.master_key", MASTER_KEY);
    let site = Site::open(builder).await;
    let node = site.admin.create_node("canary", &site.a.base_url()).await;
    let connection = site.admin.create_connection(&node, "the bird", PROVIDER_KEY).await;
    let client = site.admin.create_key("canary").await.key;
    let oauth = json!({
        "provider": "gigachat", "name": "exchanged", "apiKey": CLIENT_SECRET, "isActive": false,
    });
    site.admin.post("/api/providers", &oauth).await;
    for (behaviour, stream) in [("ok", false), ("ok", true), ("status code=401", false), ("html_200", false)] {
        site.a.control.script([behaviour]);
        site.gateway.ask(&Request::chat("canary/m", "hello", stream).key(&client)).await;
    }
    site.gateway.ask(&Request::chat("canary/m", "hello", false).key(&format!("{client}x"))).await;
    site.admin.send(Request::post("/api/auth/login", &json!({"password": format!("{PASSWORD}!")}))).await;
    site.admin.post(&format!("/api/providers/{}/test", connection), &json!({})).await;
    let session = site.admin.cookie().split("auth_token=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let secrets = vec![
        ("the provider key", PROVIDER_KEY.to_owned()),
        ("the password", PASSWORD.to_owned()),
        ("the secret that is exchanged", CLIENT_SECRET.to_owned()),
        ("the master key", MASTER_KEY.to_owned()),
        ("the client key", client),
        ("the session", session),
    ];
    (site, secrets)
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let secrets = [("it", PROVIDER_KEY.to_owned())];

    for (how, text) in encodings(PROVIDER_KEY) {
        let hidden = format!("something {text} else");
        assert!(found(hidden.as_bytes(), &secrets).contains(&format!("it as {how}")), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_the_log_at_trace_or_in_any_answer_or_copy() {
    let (site, secrets) = with_secrets().await;

    let told = canary::told(&site.gateway, &site.admin, &secrets).await;

    assert_eq!(told, Vec::<String>::new());
}

/// Ways to write an address inside the machine or its network, at this port.
fn inside(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.2",
        "127.255.255.254",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fc00::1]",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
    ];
    let schemes = ["gopher", "ftp", "file", "dict", "ldap", "ws", "unix", "jar", "data", "javascript"];
    let plain = hosts.iter().flat_map(|host| [format!("http://{host}:{port}/v1")]);
    let secure = ["127.0.0.1", "[::1]", "localhost"].iter().map(|host| format!("https://{host}:{port}/v1"));
    let other = schemes.iter().map(|scheme| format!("{scheme}://127.0.0.1:{port}/v1"));
    let tricks = [
        format!("http://api.openai.com@127.0.0.1:{port}/"),
        format!("http://api.openai.com:80@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}#@api.openai.com/"),
        format!("http://127.0.0.1:{port}\\@api.openai.com/"),
        format!("http:\\\\127.0.0.1:{port}\\v1"),
        format!("http:127.0.0.1:{port}/v1"),
        format!("//127.0.0.1:{port}/v1"),
    ];
    plain.chain(secure).chain(other).chain(tricks).collect()
}

#[tokio::test]
async fn no_address_inside_is_ever_connected_to_however_it_is_written() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let mock = MockUpstream::start().await;
    let listed = format!("127.0.0.1:{}", mock.base_url().split(':').nth(2).unwrap().split('/').next().unwrap());
    let gateway = calm().set("upstream.allow_private_hosts", &listed).start().await;
    let admin = gateway.admin().await;
    admin.add_upstream(&mock, "mock", &["sk-mock"]).await;
    let key = admin.create_key("pictures").await.key;
    let addresses = inside(port);

    assert!(addresses.len() >= 60, "{}", addresses.len());
    for address in &addresses {
        let node =
            json!({"name": "n", "prefix": "n", "apiType": "chat", "type": "openai-compatible", "baseUrl": address});
        let stored = admin.send(Request::post("/api/provider-nodes", &node)).await;
        let tried = json!({"provider": "openai", "apiKey": "sk-x", "baseUrl": address});
        let tried = admin.send(Request::post("/api/providers/validate", &tried)).await;
        let picture = json!({"type": "image_url", "image_url": {"url": address}});
        let ask = json!({"model": "mock/m", "messages": [{"role": "user", "content": [picture]}]});
        gateway.ask(&Request::post("/v1/chat/completions", &ask).key(&key)).await;

        assert_eq!((stored.status(), tried.status()), (400, 400), "{address}: {} {}", stored.text(), tried.text());
    }
    mock.control.script([format!("redirect location=http://127.0.0.1:{port}/v1").as_str()]);
    let redirected = gateway.ask(&Request::chat("mock/m", "hello", false).key(&key)).await;
    assert!(redirected.status() >= 500, "{}", redirected.text());
    let caught = std::future::poll_fn(|cx| std::task::Poll::Ready(trap.poll_accept(cx).is_ready())).await;
    assert!(!caught, "somebody was let inside");
}

#[tokio::test]
async fn a_client_cannot_choose_the_address_that_its_wrong_logins_count_for() {
    let gateway = calm().start().await;
    let spoofs: [(&str, &str); 12] = [
        ("x-forwarded-for", "203.0.113.1"),
        ("x-forwarded-for", "203.0.113.2, 203.0.113.3"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-for", "::1"),
        ("x-forwarded-for", "\"203.0.113.4\""),
        ("x-forwarded-for", "203.0.113.5:80"),
        ("x-forwarded-for", ",,203.0.113.6"),
        ("forwarded", "for=203.0.113.7"),
        ("x-real-ip", "203.0.113.8"),
        ("x-client-ip", "203.0.113.9"),
        ("cf-connecting-ip", "203.0.113.10"),
        ("true-client-ip", "203.0.113.11"),
    ];

    let mut statuses = Vec::new();
    for (name, value) in spoofs {
        let wrong = Request::post("/api/auth/login", &json!({"password": "wrong"})).header(name, value);
        let origin = format!("http://{}", gateway.addr);
        let wrong = wrong.header("Origin", &origin).header("Sec-Fetch-Site", "same-origin");
        statuses.push(gateway.ask(&wrong).await.status());
    }

    assert_eq!(statuses[..5], [401; 5]);
    assert_eq!(statuses[5..], [429; 7], "one of them counted for another address");
    let right = Request::post("/api/auth/login", &json!({"password": "x"})).header("x-forwarded-for", "198.51.100.1");
    let refused: Value = gateway.ask(&right).await.json();
    assert_eq!(refused["error"]["code"], json!("login_locked"));
}
