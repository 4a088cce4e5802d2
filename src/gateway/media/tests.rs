//! Which pieces are fetched, from where they may come, and what is taken.

use std::cell::Cell;
use std::rc::Rc;

use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::upstream::UpstreamSettings;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n picture";

fn clients(allowed: &[&str]) -> ClientFactory {
    let allow_private_hosts = allowed.iter().map(ToString::to_string).collect();
    ClientFactory::new(UpstreamSettings { allow_private_hosts, ..UpstreamSettings::default() }).unwrap()
}

/// A server of one answer; it counts its requests and keeps the last one.
struct Web {
    base: String,
    asked: Rc<Cell<usize>>,
    heard: Rc<RefCell<String>>,
}

async fn web(kind: &str, body: Vec<u8>) -> Web {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    raw([head.into_bytes(), body].concat()).await
}

async fn raw(answer: Vec<u8>) -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let web = Web { base, asked: Rc::default(), heard: Rc::default() };
    let (asked, heard) = (Rc::clone(&web.asked), Rc::clone(&web.heard));
    actix_rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            asked.set(asked.get() + 1);
            *heard.borrow_mut() = String::from_utf8_lossy(&request[..read]).into_owned();
            let _ = stream.write_all(&answer).await;
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
        }
    });
    web
}

fn part(kind: fn(Media) -> PartKind, url: &str) -> Part {
    let source = Source::Url { url: url.to_owned(), mime: None };
    Part::new(kind(Media { source, detail: None, name: None }))
}

fn asking(parts: Vec<Part>) -> Request {
    let mut request = Request::new(Format::OpenAiChat, "m");
    request.messages.push(Message::new(Role::User, parts));
    request
}

struct Rig {
    clients: ClientFactory,
    routing: Routing,
    fetched: Fetched,
}

impl Rig {
    fn new() -> Self {
        Self { clients: clients(&["127.0.0.1:*"]), routing: Routing::default(), fetched: Fetched::default() }
    }

    async fn fill(&self, request: &Request, to: Format) -> Result<Option<Request>, CannotCarry> {
        let until = Instant::now() + Duration::from_secs(5);
        self.fetched.fill(request, to, Fetching { clients: &self.clients, routing: &self.routing, until }).await
    }

    async fn refusal(&self, url: &str) -> CannotCarry {
        self.fill(&asking(vec![part(PartKind::Image, url)]), Format::Ollama).await.unwrap_err()
    }
}

fn source(request: &Request, message: usize) -> &Source {
    match &request.messages[message].parts[0].kind {
        PartKind::Image(media) | PartKind::File(media) => &media.source,
        other => panic!("{other:?}"),
    }
}

#[actix_rt::test]
async fn bytes_take_the_place_of_a_url_and_are_fetched_once_for_all_targets() {
    let (rig, web) = (Rig::new(), web("image/png", PNG.to_vec()).await);
    let request = asking(vec![part(PartKind::Image, &format!("{}/a.png", web.base))]);

    let first = rig.fill(&request, Format::Ollama).await.unwrap().unwrap();
    let second = rig.fill(&request, Format::Bedrock).await.unwrap().unwrap();

    let expected = Source::Base64 { mime: "image/png".into(), data: BASE64_STANDARD.encode(PNG) };
    assert_eq!((source(&first, 0), source(&second, 0)), (&expected, &expected));
    assert_eq!(web.asked.get(), 1);
    let heard = web.heard.borrow().to_ascii_lowercase();
    assert!(!heard.contains("authorization") && !heard.contains("cookie") && !heard.contains("referer"), "{heard}");
}

#[rstest]
#[case(Format::OpenAiChat, false, true)]
#[case(Format::Cohere, false, true)]
#[case(Format::Gemini, true, true)]
#[case(Format::Bedrock, true, true)]
#[case(Format::Ollama, true, true)]
#[case(Format::Anthropic, false, false)]
#[case(Format::OpenAiResponses, false, false)]
fn only_formats_that_need_bytes_cause_a_fetch(#[case] to: Format, #[case] image: bool, #[case] file: bool) {
    let mut request = asking(vec![part(PartKind::Image, "https://x.example/i")]);
    request.from = Format::Anthropic;
    let images = wanted(&request, to).len();
    request.messages[0].parts = vec![part(PartKind::File, "https://x.example/f")];

    assert_eq!((images == 1, wanted(&request, to).len() == 1), (image, file));
}

#[test]
fn what_lies_in_googles_stores_stays_there() {
    let url = "https://generativelanguage.googleapis.com/v1beta/files/abc";
    let request = asking(vec![part(PartKind::File, url), part(PartKind::Image, "gs://bucket/a.png")]);

    assert!(wanted(&request, Format::Gemini).is_empty());
}

#[rstest]
#[case("https://127.0.0.1/a.png")]
#[case("https://localhost/a.png")]
#[case("https://10.0.0.7/a.png")]
#[case("https://169.254.169.254/latest/meta-data")]
#[case("https://2130706433/")]
#[case("https://0x7f.1/")]
#[case("https://[::ffff:127.0.0.1]/")]
#[case("https://[fd00::1]/")]
#[case("https://user:word@x.example/a.png")]
#[case("http://x.example/a.png")]
#[case("https://x.example:6379/")]
#[actix_rt::test]
async fn what_is_not_the_public_web_is_refused_in_words_that_tell_nothing(#[case] url: &str) {
    let rig = Rig { clients: clients(&[]), ..Rig::new() };

    let refused = rig.refusal(url).await;

    assert_eq!(refused.field.as_deref(), Some("messages[0].image"));
    assert!(refused.message.contains("not one that this gateway may fetch from"), "{}", refused.message);
}

#[actix_rt::test]
async fn a_redirect_is_not_followed_wherever_it_leads() {
    let (rig, inside) = (Rig::new(), web("image/png", PNG.to_vec()).await);
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n", inside.base);
    let outside = raw(redirect.into_bytes()).await;

    let refused = rig.refusal(&outside.base).await;

    assert!(refused.message.contains("redirects"), "{}", refused.message);
    assert_eq!((outside.asked.get(), inside.asked.get()), (1, 0));
}

#[rstest]
#[case::declared("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 99999\r\n\r\n")]
#[case::chunked("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n")]
#[actix_rt::test]
async fn what_is_too_large_is_not_read_to_its_end(#[case] head: &str) {
    let mut rig = Rig::new();
    rig.routing.fetch_max_bytes = 1_000;
    let web = raw([head.as_bytes(), &[b'x'; 2_000], b"\r\n0\r\n\r\n"].concat()).await;

    let refused = rig.refusal(&web.base).await;

    assert!(refused.message.contains("at most 1000 bytes"), "{}", refused.message);
}

#[actix_rt::test]
async fn the_bytes_of_all_urls_count_together() {
    let mut rig = Rig::new();
    rig.routing.fetch_max_bytes = PNG.len() * 2;
    let web = web("image/png", PNG.to_vec()).await;
    let pictures = (0..3).map(|number| part(PartKind::Image, &format!("{}/{number}", web.base))).collect();

    let refused = rig.fill(&asking(pictures), Format::Ollama).await.unwrap_err();

    assert!(refused.message.contains("together"), "{}", refused.message);
}

#[actix_rt::test]
async fn a_server_that_is_silent_costs_a_bounded_time() {
    let mut rig = Rig::new();
    rig.routing.fetch_timeout_ms = 50;
    let web = raw(Vec::new()).await;

    let refused = rig.refusal(&web.base).await;

    assert!(refused.message.contains("in time"), "{}", refused.message);
}

#[rstest]
#[case("text/html", b"<html>login</html>", "not the picture")]
#[case("image/png", b"<html>login</html>", "not the picture")]
#[actix_rt::test]
async fn something_else_than_a_picture_is_refused(#[case] kind: &str, #[case] body: &[u8], #[case] says: &str) {
    let (rig, web) = (Rig::new(), web(kind, body.to_vec()).await);

    let refused = rig.refusal(&web.base).await;

    assert!(refused.message.contains(says), "{}", refused.message);
}

#[actix_rt::test]
async fn one_url_too_many_is_named_and_nothing_is_fetched() {
    let (rig, web) = (Rig::new(), web("image/png", PNG.to_vec()).await);
    let pictures = (0..=MOST).map(|number| part(PartKind::Image, &format!("{}/{number}", web.base))).collect();

    let refused = rig.fill(&asking(pictures), Format::Ollama).await.unwrap_err();

    assert!(refused.message.contains("at most 16 URLs"), "{}", refused.message);
    assert_eq!(web.asked.get(), 0);
}

#[actix_rt::test]
async fn what_was_said_before_may_be_missing() {
    let (rig, web) = (Rig::new(), web("image/png", PNG.to_vec()).await);
    let mut request = asking(vec![part(PartKind::Image, "https://10.0.0.1/gone.png")]);
    request.messages.push(Message::text(Role::Assistant, "nice"));
    request.messages.push(Message::new(Role::User, vec![part(PartKind::Image, &web.base)]));

    let filled = rig.fill(&request, Format::Ollama).await.unwrap().unwrap();

    assert!(matches!(source(&filled, 0), Source::Url { .. }));
    assert!(matches!(source(&filled, 2), Source::Base64 { .. }));
}

#[actix_rt::test]
async fn a_text_stands_as_text_where_the_format_has_no_files() {
    let (rig, web) = (Rig::new(), web("text/csv", b"a,b".to_vec()).await);
    let request = asking(vec![part(PartKind::File, &web.base)]);

    let ollama = rig.fill(&request, Format::Ollama).await.unwrap().unwrap();
    let bedrock = rig.fill(&request, Format::Bedrock).await.unwrap().unwrap();

    assert_eq!(source(&ollama, 0), &Source::Text("a,b".into()));
    assert!(matches!(source(&bedrock, 0), Source::Base64 { mime, .. } if mime == "text/csv"));
}

#[actix_rt::test]
async fn an_operator_may_switch_it_off() {
    let mut rig = Rig::new();
    rig.routing.fetch_urls = false;
    let request = asking(vec![part(PartKind::Image, "https://10.0.0.1/a.png")]);

    assert!(rig.fill(&request, Format::Ollama).await.unwrap().is_none());
}
