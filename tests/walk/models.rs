//! Models beside the catalogue, other names for models, and which can be asked for.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::Area;
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    added(area).await;
    named(area).await;
    available(area).await;
    let catalog = area.call("GET /api/models/catalog").says(200).await;
    let own = &catalog["catalog"][area.site.at_a.node.as_str()]["models"][0];
    area.expect("an added model is in the catalogue", &own["id"], &json!("own-1"));
    removed(area).await;
}

async fn added(area: &Area) {
    let post = || area.call("POST /api/provider-models");
    post().json(json!({"modelId": "own-1"})).says(400).await;
    post().json(json!({"provider": "nobody", "modelId": "own-1"})).says(400).await;
    post().json(json!({"provider": "openai-compatible-chat-gone", "modelId": "own-1"})).says(404).await;
    post().json(json!({"provider": "a", "modelId": "own-1", "context": 1_000})).says(200).await;
    // The bare name of a model that two providers list says too little.
    for provider in ["a", "b"] {
        post().json(json!({"provider": provider, "modelId": "twin"})).says(200).await;
    }

    let of_one = area.call("GET /api/provider-models").query("provider=a").says(200).await;
    area.expect("an added model is read back", &of_one["models"][0]["context"], &json!(1_000));
    area.call("GET /api/provider-models").says(200).await;
    area.call("GET /api/provider-models").query("provider=nobody").says(400).await;
    area.call("GET /api/provider-models").query("provider=openai-compatible-chat-gone").says(404).await;
    area.asks("own-1", 200).await;
}

async fn named(area: &Area) {
    let post = || area.call("POST /api/models/alias");
    post().json(json!({"alias": "fast"})).says(400).await;
    post().json(json!({"alias": "fast", "model": "nowhere/at-all"})).says(400).await;
    post().json(json!({"alias": "fast", "model": "a/own-1"})).says(200).await;

    let get = || area.call("GET /api/models/alias");
    let all = get().says(200).await;
    let one = get().query("alias=fast").says(200).await;
    area.expect("an alias is listed", &all["aliases"]["fast"], &json!("a/own-1"));
    area.expect("an alias leads on", &one["resolved"]["model"], &json!("own-1"));
    area.asks("fast", 200).await;
    get().query("alias=").says(400).await;
    get().query("alias=no-such-name").says(404).await;
    get().query("alias=twin").says(409).await;
    area.call("DELETE /api/models/alias").query("alias=fast").says(200).await;
    area.asks("fast", 404).await;
}

async fn available(area: &Area) {
    let post = || area.call("POST /api/models/availability");
    area.site.a.control.script(["status code=404 body={\"error\":{\"code\":\"model_not_found\"}}"]);
    area.asks("a/own-1", 404).await;

    let locked = area.call("GET /api/models/availability").says(200).await;
    let asked = post().json(json!({"model": "a/own-1"})).says(200).await;
    let cleared = post().json(json!({"model": "own-1", "provider": "a"})).says(200).await;
    let again = post().json(json!({"model": "a/own-1"})).says(200).await;
    area.expect("what a provider does not have is locked out", &locked["unavailableCount"], &json!(1));
    area.expect("and not available", &asked["available"], &json!(false));
    area.expect("until it is unlocked", &cleared["removed"], &json!(true));
    area.expect("then it is", &again["available"], &json!(true));
    post().json(json!({"provider": "a"})).says(400).await;
    post().json(json!({"provider": "nobody", "model": "m"})).says(404).await;
}

async fn removed(area: &Area) {
    let delete = || area.call("DELETE /api/provider-models");
    delete().query("provider=a").says(400).await;
    delete().query("provider=a&model=never").says(404).await;
    delete().query("provider=a&model=own-1").says(200).await;
    delete().query("provider=a&all=true").says(200).await;
    let left = area.call("GET /api/provider-models").query("provider=a").says(200).await;
    area.expect("nothing is left", &left["models"], &json!([]));
}
