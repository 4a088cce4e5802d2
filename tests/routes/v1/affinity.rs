//! The turns of a conversation stay where its prompt is cached, as long as that place is healthy.

use std::collections::{HashMap, HashSet};

use omniroute_testkit::http::{Request, Response};
use serde_json::{Value, json};

use crate::common::{KEY, Site, calm};

const ACCOUNTS: [&str; 4] = ["sk-1", "sk-2", "sk-3", "sk-4"];

async fn turn(site: &Site, talk: usize, turns: usize) -> Response {
    let mut messages = vec![json!({"role": "user", "content": format!("talk {talk}")})];
    for n in 1..turns {
        messages.push(json!({"role": "assistant", "content": "yes"}));
        messages.push(json!({"role": "user", "content": format!("turn {n}")}));
    }
    let body = json!({"model": "many/m", "messages": messages});
    site.gateway.ask(&Request::post("/v1/chat/completions", &body).key(KEY)).await
}

fn place(answer: &Response) -> (String, String) {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let header = |name: &str| answer.header(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    (header("x-omniroute-session"), header("x-omniroute-connection"))
}

#[tokio::test]
async fn a_conversation_stays_on_its_connection_and_conversations_spread() {
    let site = Site::open(calm()).await;
    site.admin.add_upstream(&site.a, "many", &ACCOUNTS).await;

    let mut places: HashMap<usize, (String, String)> = HashMap::new();
    for turns in 1..=3 {
        for talk in 0..12 {
            let now = place(&turn(&site, talk, turns).await);
            let before = places.entry(talk).or_insert_with(|| now.clone());
            assert_eq!(*before, now, "talk {talk}, turn {turns}");
        }
    }

    let connections: HashSet<_> = places.values().map(|(_, connection)| connection).collect();
    let sessions: HashSet<_> = places.values().map(|(session, _)| session).collect();
    assert_eq!(sessions.len(), 12);
    assert!(connections.len() > 1, "{places:?}");
}

#[tokio::test]
async fn a_session_moves_when_its_connection_is_gone_and_the_record_names_it() {
    let site = Site::open(calm()).await;
    site.admin.add_upstream(&site.a, "many", &ACCOUNTS).await;
    let (session, first) = place(&turn(&site, 1, 1).await);
    site.a.control.script(["status code=429 retry_after=60"]);

    let moved = turn(&site, 1, 2).await;
    let (same, second) = place(&moved);

    assert_eq!(session, same);
    assert_ne!(first, second);
    assert_eq!(place(&turn(&site, 1, 3).await).1, second, "health beats the pin");
}

#[tokio::test]
async fn without_affinity_there_is_no_session() {
    let site = Site::open(calm().set("routing.affinity", "false")).await;

    let answer = site.ask(false).await;

    assert_eq!((answer.status(), answer.header("x-omniroute-session")), (200, None));
}

#[tokio::test]
async fn the_ledger_of_a_request_is_stored_with_its_record() {
    let site = Site::open(calm()).await;
    site.a.control.script(["status code=500"]);

    let answer = site.ask_team(false).await;

    assert_eq!((answer.status(), answer.header("x-omniroute-attempts")), (200, Some("2")), "{}", answer.text());
    let decision = answer.header("x-omniroute-decision").unwrap_or_default().to_owned();
    assert!(decision.starts_with("combo=team; strategy=priority"), "{decision}");
    let record = site.record(answer.header("x-request-id").expect("an id")).await;
    let attempts: Vec<Value> = serde_json::from_str(&record.attempts).unwrap();
    let [failed, good] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!(
        (&failed["outcome"], &failed["class"], &failed["status"]),
        (&json!("server_fault"), &json!("answered"), &json!(500))
    );
    assert_eq!((&good["outcome"], &good["tokens"]["prompt"]), (&json!("success"), &json!(record.prompt_tokens)));
    assert!(good["firstContentMs"].is_u64() && good["reason"].is_string(), "{good}");
}
