//! What the `model` of a request may be.

use std::collections::BTreeMap;

use omniroute::providers::Catalog;
use serde_json::json;

use crate::common::{Site, calm, chat, error_of};

/// The model that the upstream saw, or the error.
async fn asked(site: &Site, model: &str) -> String {
    site.a.control.reset();
    let answer = site.gateway.ask(&chat(model, false)).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    site.a.control.requests().pop().unwrap().json()["model"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_prefix_of_a_node_and_a_combo_name_lead_to_the_upstream() {
    let site = Site::open(calm()).await;
    site.admin.create_combo("team/fast.v2", "priority", &["a/deep/model"]).await;

    assert_eq!(asked(&site, "a/some/model:free").await, "some/model:free");
    assert_eq!(asked(&site, "team").await, "m");
    assert_eq!(asked(&site, "combo/team").await, "m");
    assert_eq!(asked(&site, "team/fast.v2").await, "deep/model");
}

#[tokio::test]
async fn a_combo_inside_a_combo_is_followed() {
    let site = Site::open(calm()).await;
    site.admin.create_combo("outer", "priority", &["team"]).await;

    assert_eq!(asked(&site, "outer").await, "m");
}

/// A connection of a catalogue provider that leads to `a`.
async fn connect(site: &Site, provider: &str) {
    let data = json!({"baseUrl": site.a.base_url(), "accountId": "x", "resource": "x", "region": "x", "project": "x"});
    let fields = json!({"provider": provider, "name": provider, "apiKey": "sk-x", "providerSpecificData": data});
    site.admin.create_connection_with(&fields).await;
}

#[tokio::test]
async fn a_bare_model_of_one_provider_is_found() {
    let site = Site::open(calm()).await;
    connect(&site, "openai").await;
    let models = &Catalog::builtin().get("openai").unwrap().models;
    let bare = models.iter().find(|model| !model.contains('/')).expect("a model in the catalogue");

    assert_eq!(&asked(&site, bare).await, bare);
    assert_eq!(&asked(&site, &format!("openai/{bare}")).await, bare);
}

#[tokio::test]
async fn a_bare_model_that_two_providers_serve_is_a_400_that_names_both() {
    let site = Site::open(calm()).await;
    let mut known = BTreeMap::<&str, Vec<&str>>::new();
    for provider in Catalog::builtin().iter() {
        provider.models.iter().for_each(|model| known.entry(model).or_default().push(&provider.id));
    }
    let (model, providers) = known.into_iter().find(|(_, providers)| providers.len() > 1).expect("a shared model");
    for provider in &providers {
        connect(&site, provider).await;
    }

    let answer = site.gateway.ask(&chat(model, false)).await;

    let error = error_of(&answer);
    assert_eq!((answer.status(), &error["code"], &error["param"]), (400, &json!("ambiguous_model"), &json!("model")));
    for provider in &providers {
        assert!(error["message"].as_str().unwrap().contains(&format!("{provider}/{model}")), "{error}");
    }
}

#[tokio::test]
async fn a_model_that_nobody_serves_is_a_404() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&chat("nobody-has-this", false)).await;

    let error = error_of(&answer);
    assert_eq!((answer.status(), &error["code"], &error["param"]), (404, &json!("model_not_found"), &json!("model")));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn a_known_provider_without_a_connection_is_a_400() {
    let site = Site::open(calm()).await;

    let answer = site.gateway.ask(&chat("groq/whatever", false)).await;

    let error = error_of(&answer);
    assert_eq!((answer.status(), &error["code"]), (400, &json!("no_connection")));
    assert!(error["message"].as_str().unwrap().contains("groq"), "{error}");
}

#[tokio::test]
async fn a_model_string_that_is_none_is_a_400() {
    let site = Site::open(calm()).await;

    for model in ["a/", "../etc/passwd", "a/../../x"] {
        let answer = site.gateway.ask(&chat(model, false)).await;

        assert_eq!((answer.status(), &error_of(&answer)["param"]), (400, &json!("model")), "{model}");
    }
}
