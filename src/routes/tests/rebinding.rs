//! A provider's name that pointed outside when it was stored and points inside when it is used.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::routes::testing::{PASSWORD, bare_in, site};
use crate::upstream::Outside;

#[actix_web::test]
async fn whatever_an_operator_asks_of_a_name_that_turned_inside_nobody_inside_hears_of_it() {
    let turned = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&turned);
    // Outside is where nothing answers: a name that is not known.
    let lookup = move |_: &str| match now.load(Ordering::SeqCst) {
        true => Ok(vec![IpAddr::from([127, 0, 0, 1])]),
        false => Err(std::io::Error::other("NXDOMAIN")),
    };
    let bed = bare_in(Outside { lookup: Arc::new(lookup), ..Outside::default() }, |_| ()).await;
    bed.management.admin.setup_token(Some(&PASSWORD.into())).await.unwrap();
    let site = site(bed).await;
    site.sign_in().await;
    let url = "https://rebinding.test/v1";
    let node = json!({"name": "n", "prefix": "n", "apiType": "chat", "type": "openai-compatible", "baseUrl": url});
    let node = site.ok("POST", "/api/provider-nodes", Some(node)).await["node"]["id"].clone();
    let made = json!({"provider": node, "name": "turning", "apiKey": "sk-turning"});
    let made = site.ok("POST", "/api/providers", Some(made)).await;
    let path = format!("/api/providers/{}", made["connection"]["id"].as_str().unwrap());

    let before = site.ok("POST", &format!("{path}/test"), None).await;
    turned.store(true, Ordering::SeqCst);
    let after = site.ok("POST", &format!("{path}/test"), None).await;
    let validated = json!({"provider": "openai", "apiKey": "sk-x", "baseUrl": url});
    let validated = site.ok("POST", "/api/providers/validate", Some(validated)).await;
    let models = site.ask("POST", &format!("{path}/sync-models"), None).await;
    let batch = site.ok("POST", "/api/providers/test-batch", Some(json!({"mode": "all"}))).await;

    assert_eq!(before["diagnosis"]["type"], json!("network_error"), "{before}");
    for said in [&after["diagnosis"], &validated["diagnosis"]] {
        // A place that was tried would be one that cannot be reached, or that is not secure.
        assert_eq!(
            (&said["type"], &said["message"]),
            (&json!("validation_error"), &json!("the address is not allowed")),
            "{said}"
        );
    }
    assert_eq!((models.status, &batch["summary"]["passed"]), (502, &json!(0)));
}
