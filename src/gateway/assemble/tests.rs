use url::Url;

use super::*;

/// Everything that a URL of the catalogue may ask for.
fn data(spec: &ProviderSpec) -> Value {
    let members = spec.variables.keys().map(|name| (name.clone(), Value::from("acme")));
    Value::Object(members.collect())
}

fn assembled(provider: &str, key: &str, data: Value) -> Result<ConnectionConfig, String> {
    let resilience = Resilience::default();
    let row = built_in_row("c", provider, "c", Some(key.into()), 1, data);
    Assembler::new(&[], &resilience, None).connection(&row, Source::Database)
}

fn in_urls(target: &UpstreamTarget) -> Vec<&String> {
    std::iter::once(&target.chat_url).chain(&target.stream_url).chain(&target.models_url).collect()
}

#[test]
fn every_provider_of_the_catalogue_becomes_a_connection_with_one_way_to_show_who_it_is() {
    for spec in Catalog::builtin().iter() {
        let needs_url = spec.exchange.as_ref().is_some_and(|exchange| exchange.token_url.is_none());
        let mut data = data(spec);
        if needs_url {
            data["tokenUrl"] = json!("https://token.example/t");
        }

        let config = assembled(&spec.id, "id:secret", data).unwrap_or_else(|problem| panic!("{}: {problem}", spec.id));

        let others = config.target.by_model.iter().map(|(_, target)| target);
        for target in std::iter::once(&config.target).chain(others) {
            for url in in_urls(target) {
                let url = Url::parse(url).unwrap();
                assert!(url.host_str().is_some() && !url.as_str().replace("%7Bmodel%7D", "").contains("%7B"), "{url}");
            }
            assert!(target.headers.iter().all(|(_, value)| !value.contains('{')), "{}", spec.id);
            let (sent, exchanged) = (target.auth_header.is_some(), config.exchange.is_some());
            assert!(sent != exchanged, "{}: a credential is sent or exchanged", spec.id);
        }
    }
}

#[test]
fn every_anthropic_provider_says_which_version_it_speaks() {
    for spec in Catalog::builtin().iter().filter(|spec| spec.wire == Wire::Anthropic) {
        assert_eq!(spec.headers.get("anthropic-version").map(String::as_str), Some("2023-06-01"), "{}", spec.id);
    }
}

#[test]
fn partner_models_of_vertex_go_where_their_maker_s_format_is_spoken() {
    let config = assembled("vertex-partner", "ya29.token", json!({"region": "europe-west1", "project": "p"})).unwrap();
    let target = |model: &str| config.target.for_model(model);

    let claude = target("claude-sonnet-4-5@20250929");
    let llama = target("meta/llama-3.3-70b-instruct-maas");

    let base = "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1";
    assert_eq!(claude.chat_url, format!("{base}/publishers/anthropic/models/%7Bmodel%7D:rawPredict"));
    assert_eq!(
        claude.stream_url.as_deref(),
        Some(format!("{base}/publishers/anthropic/models/%7Bmodel%7D:streamRawPredict").as_str())
    );
    assert_eq!((claude.wire, claude.quirks), (Wire::Anthropic.number(), quirk_bit(Quirk::VertexBody)));
    assert_eq!(llama.chat_url, format!("{base}/endpoints/openapi/chat/completions"));
    assert_eq!((llama.wire, llama.quirks), (Wire::OpenaiChat.number(), 0));
}

#[test]
fn a_region_that_is_all_of_them_has_no_host_of_its_own() {
    let config = assembled("vertex", "ya29.token", json!({"region": "global", "project": "p"})).unwrap();

    assert!(config.target.chat_url.starts_with("https://aiplatform.googleapis.com/v1/projects/p/locations/global/"));
    let models = "https://aiplatform.googleapis.com/v1beta1/publishers/google/models";
    assert_eq!(config.target.models_url.as_deref(), Some(models));
}

#[test]
fn a_header_may_hold_what_the_connection_says() {
    let data = |more: Value| {
        let mut data = json!({"host": "api.example", "deployment": "d1", "tokenUrl": "https://t.example"});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    let group = |more| assembled("sap", "id:secret", data(more)).map(|config| config.target.headers.clone());

    let header = |value: &str| vec![("ai-resource-group".to_owned(), value.to_owned())];
    assert_eq!(group(json!({})).unwrap(), header("default"));
    assert_eq!(group(json!({"resourceGroup": "team-1"})).unwrap(), header("team-1"));
    assert!(group(json!({"resourceGroup": "a\r\nb: c"})).is_err());
}

#[test]
fn another_place_of_exchange_counts_as_another_credential() {
    let version = |url: &str| {
        let data = json!({"region": "r", "tokenUrl": url});
        assembled("watsonx", "k", data).unwrap().credential_version
    };

    assert_eq!(version("https://a.example/t"), version("https://a.example/t"));
    assert_ne!(version("https://a.example/t"), version("https://b.example/t"));
}
