//! Aliases, mappings, chains, policies, and what models are known for.

use serde_json::json;

use crate::routes::testing::signed_in;

#[actix_web::test]
async fn an_alias_is_in_force_when_its_answer_comes() {
    let site = signed_in().await;
    let path = "/api/models/alias";

    let stored = site.ok("POST", path, Some(json!({"model": "openai/gpt-5.5", "alias": "fast"}))).await;
    let wild = site.ok("PUT", path, Some(json!({"model": "openai/gpt-5.4", "alias": "claude-*"}))).await;
    let resolved = site.ok("GET", "/api/models/alias?alias=fast", None).await;
    let by_pattern = site.ok("GET", "/api/models/alias?alias=claude-anything", None).await;

    assert_eq!(stored, json!({"success": true, "model": "openai/gpt-5.5", "alias": "fast"}));
    assert_eq!((&wild["alias"], &resolved["resolved"]["source"]), (&json!("claude-*"), &json!("stored_alias")));
    assert_eq!(resolved["resolved"]["qualifiedId"], json!("openai/gpt-5.5"));
    assert_eq!(by_pattern["resolved"]["qualifiedId"], json!("openai/gpt-5.4"));
    let listed = site.ok("GET", path, None).await;
    assert_eq!(listed["aliases"], json!({"claude-*": "openai/gpt-5.4", "fast": "openai/gpt-5.5"}));
    assert_eq!(site.app_resolves("fast"), "openai/gpt-5.5");
    site.ok("DELETE", "/api/models/alias?alias=fast", None).await;
    assert_eq!(site.ask("GET", "/api/models/alias?alias=fast", None).await.status, 404);
    assert_eq!(site.ask("DELETE", "/api/models/alias?alias=fast", None).await.status, 404);
}

#[actix_web::test]
async fn aliases_are_the_same_under_both_addresses() {
    let site = signed_in().await;
    let (path, other) = ("/api/settings/model-aliases", "/api/models/alias");
    site.ok("POST", other, Some(json!({"model": "openai/gpt-5.5", "alias": "fast"}))).await;

    let added = site.ok("POST", path, Some(json!({"from": "old-*", "to": "openai/gpt-5.4"}))).await;
    let all = json!({"fast": "openai/gpt-5.5", "old-*": "openai/gpt-5.4"});
    assert_eq!(added, json!({"success": true, "custom": all}));
    assert_eq!(site.ok("GET", path, None).await, json!({"builtIn": {}, "custom": all, "all": all}));
    assert_eq!(site.app_resolves("old-1"), "openai/gpt-5.4");

    let wrong = json!({"aliases": {"fine": "openai/gpt-5.5", "bad": "nobody/x", "worse": 7}});
    assert_eq!(site.ask("PUT", path, Some(wrong)).await.fields(), ["aliases.bad.model", "aliases.worse.model"]);
    assert_eq!(site.ask("POST", path, Some(json!({"from": "x"}))).await.fields(), ["to"]);
    let replaced = site.ok("PUT", path, Some(json!({"aliases": {"new": "openai/gpt-5.5"}}))).await;
    assert_eq!(replaced["custom"], json!({"new": "openai/gpt-5.5"}));
    assert_eq!(site.ok("GET", other, None).await["aliases"], replaced["custom"]);
    site.ok("DELETE", path, Some(json!({"from": "new"}))).await;
    assert_eq!(site.ask("DELETE", path, Some(json!({"from": "new"}))).await.status, 404);
}

#[actix_web::test]
async fn an_alias_that_leads_nowhere_or_in_a_circle_is_refused() {
    let site = signed_in().await;
    let path = "/api/models/alias";
    site.ok("POST", path, Some(json!({"model": "openai/gpt-5.5", "alias": "fast"}))).await;
    site.ok("POST", "/api/combos", Some(json!({"name": "team", "models": ["openai/x"]}))).await;
    let refused = async |model: &str, alias: &str| {
        site.ask("POST", path, Some(json!({"model": model, "alias": alias}))).await.fields()
    };

    assert_eq!(refused("nobody/x", "a").await, ["model"]);
    assert_eq!(refused("fast", "faster").await, ["model"]);
    assert_eq!(refused("fast", "fast").await, ["model"]);
    assert_eq!(refused("openai/x", "team").await, ["alias"]);
    assert_eq!(refused("", " a").await, ["model", "alias"]);
    let ambiguous = site.ask("GET", "/api/models/alias?alias=", None).await;
    assert_eq!((ambiguous.status, ambiguous.json()["error"]["code"].clone()), (400, json!("MODEL_NOT_MAPPED")));
    site.ok("POST", path, Some(json!({"model": "team", "alias": "crew"}))).await;
    assert_eq!(site.app_resolves("crew"), "combo team");
}

#[actix_web::test]
async fn models_are_listed_with_their_aliases_and_an_alias_is_not_given_twice() {
    let site = signed_in().await;

    site.ok("PUT", "/api/models", Some(json!({"model": "openai/gpt-5.5", "alias": "fast"}))).await;
    let taken = site.ask("PUT", "/api/models", Some(json!({"model": "openai/gpt-5.4", "alias": "fast"}))).await;
    let listed = site.ok("GET", "/api/models", None).await;
    let all = site.ok("GET", "/api/models?all=true", None).await;
    let catalog = site.ask("GET", "/api/models/catalog", None).await;

    assert_eq!((taken.status, taken.json()["error"]["message"].clone()), (400, json!("Alias already in use")));
    let models = listed["models"].as_array().unwrap();
    let line = models.iter().find(|model| model["model"] == json!("gpt-5.5")).unwrap();
    let expected = json!({"provider": "openai", "model": "gpt-5.5", "fullModel": "openai/gpt-5.5", "alias": "fast",
        "available": true});
    assert_eq!(line, &expected);
    assert!(models.iter().all(|model| model["available"] == json!(true)));
    assert!(all["models"].as_array().unwrap().len() > models.len());
    let openai = &catalog.json()["catalog"]["openai"];
    assert_eq!((&openai["provider"], &openai["active"]), (&json!("OpenAI"), &json!(true)));
    let known = openai["models"].as_array().unwrap().iter().find(|model| model["id"] == json!("gpt-5.5")).unwrap();
    assert!(known["capabilities"]["tools"].as_bool().unwrap() && known["context_length"].as_u64().unwrap() > 100_000);
    assert_eq!(known["price"]["input"], json!("5"));
    assert!(catalog.header("x-model-catalog-version").is_some());
}

#[actix_web::test]
async fn a_mapping_is_made_read_changed_and_removed() {
    let site = signed_in().await;
    let combo = site.ok("POST", "/api/combos", Some(json!({"name": "team", "models": ["openai/x"]}))).await;
    let all = "/api/model-combo-mappings";
    let body = json!({"pattern": "GPT-4*", "comboId": combo["id"], "priority": 3, "description": "old ones"});

    let made = site.ok("POST", all, Some(body)).await["mapping"].clone();
    let one = format!("{all}/{}", made["id"].as_str().unwrap());
    assert_eq!((&made["comboName"], &made["enabled"]), (&json!("team"), &json!(true)));
    assert_eq!(site.app_resolves("gpt-4.1"), "combo team");
    let changed = site.ok("PUT", &one, Some(json!({"enabled": false}))).await;

    assert_eq!(changed["mapping"]["enabled"], json!(false));
    assert_ne!(site.app_resolves("gpt-4.1"), "combo team");
    assert_eq!(site.ok("GET", &one, None).await["mapping"]["pattern"], json!("GPT-4*"));
    let ghost = json!({"pattern": "x".repeat(501), "comboId": "ghost"});
    assert_eq!(site.ask("POST", all, Some(ghost)).await.fields(), ["pattern", "comboId"]);
    site.ok("DELETE", &one, None).await;
    assert_eq!(site.ask("GET", &one, None).await.status, 404);
    assert_eq!(site.ok("GET", all, None).await["mappings"], json!([]));
}

#[actix_web::test]
async fn a_combo_takes_the_mappings_that_lead_to_it_along() {
    let site = signed_in().await;
    let combo = site.ok("POST", "/api/combos", Some(json!({"name": "team", "models": ["openai/x"]}))).await;
    let body = json!({"pattern": "gpt-4*", "comboId": combo["id"]});
    site.ok("POST", "/api/model-combo-mappings", Some(body)).await;

    site.ok("DELETE", &format!("/api/combos/{}", combo["id"].as_str().unwrap()), None).await;

    assert_eq!(site.ok("GET", "/api/model-combo-mappings", None).await["mappings"], json!([]));
}

#[actix_web::test]
async fn a_chain_is_stored_in_its_order_and_reaches_the_plan() {
    let site = signed_in().await;
    let path = "/api/fallback/chains";
    let chain = json!([{"provider": "groq", "priority": 9}, {"provider": "ds", "priority": 2, "enabled": true}]);

    site.ok("POST", path, Some(json!({"model": "openai/gpt", "chain": chain}))).await;
    let listed = site.ok("GET", path, None).await;
    let steps = site.bed.app.plan.load().chains["openai/gpt"].len();

    let providers: Vec<_> =
        listed["openai/gpt"].as_array().unwrap().iter().map(|link| link["provider"].clone()).collect();
    assert_eq!((providers, steps), (vec![json!("ds"), json!("groq")], 2));
    let wrong = json!({"model": "x", "chain": [{"provider": "nobody", "priority": 101}]});
    assert_eq!(site.ask("POST", path, Some(wrong)).await.fields(), ["chain.0.provider", "chain.0.priority"]);
    assert_eq!(site.ask("POST", path, Some(json!({"model": "x", "chain": []}))).await.fields(), ["chain"]);
    let removed = site.ok("DELETE", path, Some(json!({"model": "openai/gpt"}))).await;
    assert_eq!(removed, json!({"success": true, "removed": true}));
    assert_eq!(site.ask("DELETE", path, Some(json!({"model": "openai/gpt"}))).await.status, 404);
    assert_eq!(site.ask("DELETE", path, None).await.status, 400);
}

#[actix_web::test]
async fn a_policy_is_made_changed_and_removed_and_stands_beside_the_lockouts() {
    let site = signed_in().await;
    let body = json!({"name": "eu only", "effect": "require", "what": {"regions": ["eu"]}, "when": {"keys": ["k"]}});

    let made = site.ask("POST", "/api/policies", Some(body.clone())).await;
    let policy = made.json()["policy"].clone();
    let id = policy["id"].as_str().unwrap();
    let in_force = site.bed.app.plan.load().policies.len();
    let changed = site.ok("PATCH", &format!("/api/policies/{id}"), Some(json!({"enabled": false}))).await;
    let listed = site.ok("GET", "/api/policies", None).await;

    assert_eq!((made.status, in_force), (201, 1));
    assert_eq!((&policy["priority"], &policy["what"]), (&json!(100), &json!({"regions": ["eu"]})));
    assert_eq!(changed["policy"]["enabled"], json!(false));
    assert_eq!((&listed["lockedIdentifiers"], listed["policies"].as_array().unwrap().len()), (&json!([]), 1));
    assert_eq!(site.ask("POST", "/api/policies", Some(body)).await.status, 409);
    assert_eq!(site.ask("POST", "/api/policies", Some(json!({"name": "x"}))).await.status, 400);
    site.ok("DELETE", &format!("/api/policies?id={id}"), None).await;
    assert_eq!(site.ask("DELETE", &format!("/api/policies?id={id}"), None).await.status, 404);
    assert_eq!(site.ask("DELETE", "/api/policies", None).await.status, 400);
    assert!(site.bed.app.plan.load().policies.is_empty());
}

#[actix_web::test]
async fn who_is_locked_out_is_shown_and_let_in_again() {
    let site = signed_in().await;
    for _ in 0..20 {
        drop(site.bed.app.logins.begin(Some("9.9.9.9".parse().unwrap())));
    }

    let listed = site.ok("GET", "/api/policies", None).await["lockedIdentifiers"].clone();
    let other = site.ask("POST", "/api/policies", Some(json!({"action": "lock", "identifier": "9.9.9.9"}))).await;
    let unlock = json!({"action": "unlock", "identifier": "9.9.9.9"});
    let answer = site.ok("POST", "/api/policies", Some(unlock)).await;

    assert_eq!(listed[0]["identifier"], json!("9.9.9.9"));
    assert!(listed[0]["remainingMs"].as_u64().unwrap() > 0);
    assert_eq!((other.status, other.fields()), (400, vec!["action".to_owned()]));
    assert_eq!((&answer["action"], &answer["wasLocked"]), (&json!("unlocked"), &json!(true)));
    assert_eq!(site.ok("GET", "/api/policies", None).await["lockedIdentifiers"], json!([]));
    assert_eq!(site.ok("DELETE", "/api/policies?identifier=9.9.9.9", None).await["wasLocked"], json!(false));
}

#[actix_web::test]
async fn facts_of_operators_are_in_force_and_can_be_taken_back() {
    let site = signed_in().await;
    let path = "/api/models/facts";
    let body = json!({"pattern": "openai/gpt-5.5", "context": 9_000, "price": {"input": "1.5", "output": "2"}});
    let context = || site.bed.app.plan.load().providers["openai"].models["gpt-5.5"].context;

    let before = context();
    site.ok("PATCH", path, Some(body)).await;
    let during = context();
    let listed = site.ok("GET", "/api/models/facts?model=gpt-5.5&provider=openai", None).await;
    let wrong = site.ask("PATCH", path, Some(json!({"pattern": "x", "context": -1, "can": ["fly"]}))).await;
    site.ok("DELETE", "/api/models/facts?pattern=openai/gpt-5.5", None).await;

    assert_eq!((during, context()), (Some(9_000), before));
    assert_eq!(listed["facts"]["price"]["input"], json!("1.5"));
    assert_eq!(listed["overrides"][0]["pattern"], json!("openai/gpt-5.5"));
    assert_eq!(wrong.status, 400);
}

#[actix_web::test]
async fn what_is_changed_about_routing_is_written_down() {
    let site = signed_in().await;
    site.ok("POST", "/api/models/alias", Some(json!({"model": "openai/x", "alias": "a"}))).await;
    let policy = json!({"name": "p", "effect": "deny", "what": {"providers": ["groq"]}});
    site.ok("POST", "/api/policies", Some(policy)).await;
    let chain = json!({"model": "m", "chain": [{"provider": "groq", "priority": 1, "enabled": true}]});
    site.ok("POST", "/api/fallback/chains", Some(chain)).await;

    for action in ["model_alias.stored", "policy.created", "fallback_chain.stored"] {
        let log = site.ok("GET", &format!("/api/compliance/audit-log?action={action}"), None).await;
        assert_eq!(log.as_array().unwrap().len(), 1, "{action}");
    }
}

#[actix_web::test]
async fn a_model_can_be_asked_for_where_a_connection_is_ready() {
    let site = signed_in().await;
    let path = "/api/models/availability";

    let there = site.ok("POST", path, Some(json!({"model": "openai/gpt-5.5"}))).await;
    let nowhere = site.ok("POST", path, Some(json!({"model": "nobody-knows"}))).await;
    let cleared = site.ok("POST", path, Some(json!({"provider": "openai", "model": "gpt-5.5"}))).await;
    let listed = site.ok("GET", path, None).await;

    let line = json!({"provider": "openai", "available": true, "connections": 1, "coolingDown": 0});
    assert_eq!(there, json!({"model": "openai/gpt-5.5", "available": true, "providers": [line]}));
    assert_eq!((&nowhere["available"], &nowhere["providers"]), (&json!(false), &json!([])));
    assert_eq!(cleared, json!({"success": true, "removed": false}));
    assert_eq!(listed, json!({"unavailableCount": 0, "models": []}));
    assert_eq!(site.ask("POST", path, Some(json!({"provider": "groq", "model": "x"}))).await.status, 404);
}
