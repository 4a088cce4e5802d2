//! Signing in and out, and the password.

use omniroute_testkit::gateway::{Builder, PASSWORD};
use serde_json::json;

use super::area::Area;
use crate::common::calm;

pub fn gateway() -> Builder {
    calm().set("auth.login_attempts", "4")
}

pub async fn walk(area: &Area) {
    let told = area.call("GET /api/init").by_a_stranger().says(200).await;
    let needs = area.call("GET /api/settings/require-login").by_a_stranger().says(200).await;
    area.expect("the set-up is complete", (&told["initialized"], &needs["hasPassword"]), (&json!(true), &json!(true)));
    signed_in_and_out(area).await;
    without_a_password(area).await;
    changed(area).await;
    throttled(area).await;
}

async fn signed_in_and_out(area: &Area) {
    let login = || area.call("POST /api/auth/login").by_a_stranger();
    login().json(json!({})).says(400).await;
    login().json(json!({"password": "wrong"})).says(401).await;
    let answer = login().json(json!({"password": PASSWORD})).answers(200).await;
    let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
    let with_cookie = |call: &'static str| area.call(call).by_a_stranger().header("Cookie", &cookie);
    with_cookie("GET /api/providers").says(200).await;

    let logout = || with_cookie("POST /api/auth/logout");
    logout().header("Origin", "https://evil.example").says(403).await;
    with_cookie("GET /api/providers").says(200).await;
    logout().header("Sec-Fetch-Site", "same-origin").says(200).await;
    with_cookie("GET /api/providers").says(401).await;
}

/// Where nobody has set a password nobody signs in.
async fn without_a_password(area: &Area) {
    let Some((fresh, _schema)) = area.engine.fresh(calm().env("INITIAL_PASSWORD", "")) else { return };
    let fresh = fresh.start().await;
    let login = area.call("POST /api/auth/login").by_a_stranger().to(&fresh);
    let answer = login.json(json!({"password": "any password"})).says(403).await;
    area.expect("what is missing is said", &answer["needsSetup"], &json!(true));
}

async fn changed(area: &Area) {
    let put = || area.call("PUT /api/settings/require-login");
    put().json(json!({"requireLogin": false})).says(400).await;
    put().json(json!({"currentPassword": "wrong", "password": "another long password"})).says(403).await;
    put().json(json!({"requireLogin": true})).says(200).await;
    let change = json!({"currentPassword": PASSWORD, "password": "another long password"});
    let answer = put().json(change).answers(200).await;
    area.must("who changed it goes on", answer.header("set-cookie").is_some(), &answer);
    put().json(json!({"requireLogin": true})).says(401).await;
}

/// Too many wrong guesses.
async fn throttled(area: &Area) {
    let login = || area.call("POST /api/auth/login").by_a_stranger();
    let right = login().json(json!({"password": "another long password"})).answers(200).await;
    let cookie = right.header("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
    for _ in 0..4 {
        login().json(json!({"password": "wrong"})).says(401).await;
    }
    login().json(json!({"password": "another long password"})).says(429).await;

    let guess = json!({"currentPassword": "wrong", "password": "a third long password"});
    let own = area.call("PUT /api/settings/require-login").by_a_stranger().header("Cookie", &cookie);
    own.header("Sec-Fetch-Site", "same-origin").json(guess).says(429).await;
}
