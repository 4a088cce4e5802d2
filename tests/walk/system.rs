//! The whole process: begun anew, and ended.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::Area;
use crate::common::{PATIENCE, calm, chat, eventually};

pub fn gateway() -> Builder {
    calm().config_file("[backups]\ndir = \"first\"\n").set("server.drain_delay_ms", "20000")
}

pub async fn walk(area: &Area) {
    area.site.gateway.rewrite_config("[backups]\ndirr = \"misspelt\"\n");
    area.call("POST /api/restart").says(409).await;
    area.site.gateway.rewrite_config("[backups]\ndir = \"second\"\n");
    let answer = area.call("POST /api/restart").says(202).await;
    area.expect("it begins anew", &answer["status"], &json!("restarting"));
    let over = eventually(PATIENCE * 2, async || area.site.gateway.log().contains("good bye").then_some(())).await;
    area.must("the first start has ended", over.is_some(), area.site.gateway.log());
    area.asks("a/m", 200).await;

    // As long as an answer is under way the process does not end.
    area.site.a.control.always("ok tokens=10 delay_ms=50");
    let mut stream = area.site.gateway.stream(&chat("a/m", true)).await;
    stream.read_until("tok0").await.expect("a stream");
    area.call("POST /api/shutdown").says(202).await;
    area.call("POST /api/shutdown").says(409).await;
    area.call("POST /api/restart").says(409).await;
    let tail = stream.rest().await;
    area.must("and it ends whole", tail.cut.is_none(), &tail.text);
}
