use std::collections::HashSet;

use super::*;

const ENTRY: &str = "name = \"X\"\nwire = \"openai-chat\"\nbase_url = \"https://x.example/v1\"\n";

#[test]
fn the_builtin_catalogue_has_at_least_sixty_providers_of_the_openai_format() {
    let count = Catalog::builtin().iter().filter(|spec| spec.wire == Wire::OpenaiChat).count();

    assert!(count >= 60, "only {count}");
}

#[test]
fn no_two_providers_are_found_under_one_variable() {
    let names: Vec<_> = Catalog::builtin().iter().flat_map(|spec| &spec.env).collect();

    let unique: HashSet<_> = names.iter().collect();

    assert_eq!(unique.len(), names.len());
}

#[test]
fn only_local_providers_are_reached_without_tls() {
    for spec in Catalog::builtin().iter() {
        let scheme = if spec.class == Class::Local { "http://" } else { "https://" };
        assert!(spec.base_url.starts_with(scheme), "{}: {}", spec.id, spec.base_url);
    }
}

#[test]
fn every_provider_knows_models_or_passes_names_on() {
    for spec in Catalog::builtin().iter() {
        assert!(!spec.models.is_empty() || spec.passthrough_models, "{} can serve nothing", spec.id);
    }
}

#[test]
fn an_unknown_field_in_the_catalogue_is_an_error() {
    let error = Catalog::parse(&format!("[x]\n{ENTRY}quriks = []\n")).unwrap_err();

    assert!(error.to_string().contains("quriks"), "{error}");
}

#[test]
fn an_unknown_quirk_is_an_error() {
    let error = Catalog::parse(&format!("[x]\n{ENTRY}quirks = [\"odd\"]\n")).unwrap_err();

    assert!(error.to_string().contains("odd"), "{error}");
}

#[test]
fn an_alias_that_is_the_id_of_another_is_an_error() {
    let error = Catalog::parse(&format!("[x]\n{ENTRY}[y]\nalias = \"x\"\n{ENTRY}")).unwrap_err();

    assert_eq!(error.to_string(), "two providers are called x");
}

#[test]
fn an_alias_leads_to_the_provider_and_only_the_id_is_an_id() {
    let catalog = Catalog::builtin();

    assert_eq!(catalog.by_alias("ds").map(|spec| spec.id.as_str()), Some("deepseek"));
    assert!(catalog.get("ds").is_none() && catalog.get("deepseek").is_some());
}

#[test]
fn a_model_that_several_providers_list_is_known_to_be_ambiguous() {
    let ids: Vec<_> = Catalog::builtin().knowing("kimi-k2.5").map(|spec| spec.id.as_str()).collect();

    assert!(ids.len() > 1 && ids.contains(&"kimi"), "{ids:?}");
    assert_eq!(Catalog::builtin().knowing("no-such-model").count(), 0);
}

#[test]
fn the_key_is_sent_as_the_entry_says() {
    let secret = SecretString::from("k");
    let header = |id: &str| {
        let (name, value) = Catalog::builtin().get(id).unwrap().auth_header(&secret);
        format!("{name}: {}", value.expose_secret())
    };

    let headers = ["openai", "maritalk", "azure-ai"].map(header);

    assert_eq!(headers, ["authorization: Bearer k", "authorization: Key k", "api-key: k"]);
}
