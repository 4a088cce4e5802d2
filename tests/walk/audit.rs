//! The audit log: filtered, paged, and unbroken.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::Area;
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    let log = || area.call("GET /api/compliance/audit-log");

    let rows = log().query("action=combo.created&limit=1").says(200).await;
    let page = log().query("limit=2&offset=1").answers(200).await;
    let later = log().query("from=2100-01-01T00:00:00Z").says(200).await;
    let verdict = area.call("GET /api/compliance/audit-log/verify").says(200).await;

    area.expect("what was done by whom", &rows[0]["actor"], &json!("admin"));
    area.expect("a page", page.json().as_array().map(Vec::len), Some(2));
    area.must("its total", page.header("x-total-count").is_some_and(|total| total.parse::<u32>().is_ok()), &page);
    area.expect("nothing of the future", later, json!([]));
    area.expect("the chain holds", &verdict["ok"], &json!(true));
    log().query("limit=few").says(400).await;
    log().query("from=soon").says(400).await;
}
