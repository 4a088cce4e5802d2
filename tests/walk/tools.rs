//! Command-line tools: none is installed on a server, and each is told how it is pointed here.

use omniroute_testkit::gateway::Builder;
use serde_json::json;

use super::area::Area;
use crate::common::calm;

pub fn gateway() -> Builder {
    calm()
}

pub async fn walk(area: &Area) {
    for settings in [
        "GET /api/cli-tools/claude-settings",
        "GET /api/cli-tools/codex-settings",
        "GET /api/cli-tools/droid-settings",
        "GET /api/cli-tools/openclaw-settings",
    ] {
        let told = area.call(settings).says(200).await;
        area.expect("a tool", (&told["installed"], &told["runnable"]), (&json!(false), &json!(false)));
        let address = area.site.gateway.addr.to_string();
        area.must("the text to put into place", told["snippet"].to_string().contains(&address), &told);
    }
    let runtime = area.call("GET /api/cli-tools/runtime/{toolId}").at("claude").says(200).await;
    area.expect("why there is none", &runtime["reason"], &json!("remote_server"));
    area.call("GET /api/cli-tools/runtime/{toolId}").at("no-such-tool").says(404).await;
}
