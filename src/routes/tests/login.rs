//! Signing in and out.

use std::time::Duration;

use serde_json::json;

use crate::routes::testing::{PASSWORD, bare, bed, signed_in, site};

#[actix_web::test]
async fn signing_in_can_be_asked_for_and_not_switched_off() {
    let site = signed_in().await;
    let path = "/api/settings/require-login";

    assert_eq!(site.ok("PUT", path, Some(json!({"requireLogin": true}))).await, json!({"success": true}));
    for body in [json!({"requireLogin": false}), json!({}), json!({"requireLogin": "no"})] {
        assert_eq!(site.ask("POST", path, Some(body.clone())).await.status, 400, "{body}");
    }
    assert_eq!(site.ok("GET", path, None).await["requireLogin"], json!(true));
}

#[actix_web::test]
async fn the_password_opens_a_session_and_logging_out_ends_it() {
    let site = site(bed().await).await;
    site.sign_in().await;
    assert_eq!(site.ok("GET", "/api/auth/status", None).await["authenticated"], json!(true));
    assert_eq!(site.ask("GET", "/api/keys", None).await.status, 200);

    let answer = site.ask("POST", "/api/auth/logout", None).await;

    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(site.ask("GET", "/api/keys", None).await.status, 401);
    assert_eq!(site.ok("GET", "/api/auth/status", None).await["authenticated"], json!(false));
}

#[actix_web::test]
async fn a_login_answers_without_the_token_and_with_a_new_id_each_time() {
    let site = site(bed().await).await;
    let login = || site.send("POST", "/api/auth/login", Some(json!({"password": PASSWORD})), &[]);

    let (first, second) = (login().await, login().await);

    assert_eq!(first.json(), json!({"success": true, "needsSetup": false}));
    assert_ne!(first.header("set-cookie"), second.header("set-cookie"));
    assert!(first.header("set-cookie").unwrap().contains("HttpOnly; SameSite=Strict; Path=/"));
}

#[actix_web::test]
async fn five_wrong_passwords_lock_the_address_even_for_the_right_one() {
    let site = site(bed().await).await;
    let login = |password: &'static str| site.send("POST", "/api/auth/login", Some(json!({"password": password})), &[]);
    let mut bodies = Vec::new();
    for _ in 0..5 {
        let answer = login("wrong").await;
        assert_eq!(answer.status, 401);
        bodies.push(answer.json()["error"]["message"].clone());
    }

    let locked = login(PASSWORD).await;
    site.bed.clock.advance(Duration::from_secs(900));
    let later = login(PASSWORD).await;

    assert!(bodies.iter().all(|body| *body == json!("Invalid password")));
    assert_eq!((locked.status, locked.header("retry-after")), (429, Some("900")));
    assert_eq!(later.status, 200);
}

#[actix_web::test]
async fn the_address_of_a_lockout_cannot_be_forged() {
    let site = site(bed().await).await;
    for host in 0..5 {
        let forged = format!("9.9.9.{host}");
        let body = Some(json!({"password": "wrong"}));
        site.send("POST", "/api/auth/login", body, &[("x-forwarded-for", &forged)]).await;
    }

    let answer = site.send("POST", "/api/auth/login", Some(json!({"password": PASSWORD})), &[]).await;

    assert_eq!(answer.status, 429);
}

#[actix_web::test]
async fn a_session_ends_when_it_is_idle() {
    let site = site(bed().await).await;
    site.sign_in().await;
    site.bed.clock.advance(Duration::from_secs(1_799));
    assert_eq!(site.ask("GET", "/api/keys", None).await.status, 200);

    site.bed.clock.advance(Duration::from_secs(1_801));

    assert_eq!(site.ask("GET", "/api/keys", None).await.status, 401);
}

#[actix_web::test]
async fn the_printed_token_sets_the_first_password_once() {
    let bed = bare(|_| ()).await;
    let token = bed.management.admin.setup_token(None).await.unwrap().unwrap();
    let token = secrecy::ExposeSecret::expose_secret(&token).to_owned();
    let site = site(bed).await;
    assert_eq!(site.ok("GET", "/api/init", None).await["initialized"], json!(false));
    let init = |token: String| site.send("POST", "/api/init", Some(json!({"token": token, "password": PASSWORD})), &[]);

    assert_eq!(init("wrong".into()).await.status, 401);
    let set = init(token.clone()).await;
    assert_eq!(init(token).await.status, 409);

    assert_eq!(set.status, 200, "{}", set.text);
    site.keep_cookie(&set);
    assert_eq!(site.ask("GET", "/api/keys", None).await.status, 200);
    site.sign_in().await;
}

#[actix_web::test]
async fn before_the_set_up_a_wrong_login_says_that_it_is_missing_and_the_token_signs_in_once() {
    let bed = bare(|_| ()).await;
    let token = bed.management.admin.setup_token(None).await.unwrap().unwrap();
    let token = secrecy::ExposeSecret::expose_secret(&token).to_owned();
    let site = site(bed).await;
    let login = |password: String| site.send("POST", "/api/auth/login", Some(json!({"password": password})), &[]);

    let (wrong, right, again) = (login("x".into()).await, login(token.clone()).await, login(token).await);

    assert_eq!((wrong.status, wrong.json()["needsSetup"].clone()), (403, json!(true)));
    assert_eq!((right.status, right.json()["needsSetup"].clone()), (200, json!(true)));
    assert_eq!(again.status, 403);
    site.keep_cookie(&right);
    assert_eq!(site.ask("POST", "/api/init", Some(json!({"password": PASSWORD}))).await.status, 200);
}

#[actix_web::test]
async fn a_new_password_ends_every_other_session() {
    let site = site(bed().await).await;
    site.sign_in().await;
    let other = site.send("POST", "/api/auth/login", Some(json!({"password": PASSWORD})), &[("cookie", "x=y")]).await;
    let other = other.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();

    let short = site
        .ask("PUT", "/api/settings/require-login", Some(json!({"currentPassword": PASSWORD, "password": "short"})))
        .await;
    let guessed = json!({"currentPassword": "not the password", "password": "another long password"});
    let guessed = site.ask("PUT", "/api/settings/require-login", Some(guessed)).await;
    let missing =
        site.ask("PUT", "/api/settings/require-login", Some(json!({"newPassword": "another long one"}))).await;
    let changed = site
        .ask(
            "PUT",
            "/api/settings/require-login",
            Some(json!({"currentPassword": PASSWORD, "password": "another long password"})),
        )
        .await;

    assert_eq!((short.status, short.fields()), (400, vec!["password".to_owned()]));
    assert_eq!((guessed.status, missing.status), (403, 400));
    assert_eq!(changed.status, 200);
    site.keep_cookie(&changed);
    assert_eq!(site.ask("GET", "/api/keys", None).await.status, 200);
    site.carry(&[("cookie", &other)]);
    assert_eq!(site.ask("GET", "/api/keys", None).await.status, 401);
}

#[actix_web::test]
async fn a_login_must_be_json() {
    let site = site(bed().await).await;
    let headers = [("content-type", "text/plain")];

    let answer = site.send("POST", "/api/auth/login", Some(json!({"password": PASSWORD})), &headers).await;

    assert_eq!(answer.status, 415);
}
