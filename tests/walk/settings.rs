//! Settings: in force at once, kept with a version.

use omniroute_testkit::gateway::Builder;
use omniroute_testkit::proxy::{Kind, Proxy};
use serde_json::{Value, json};

use super::area::Area;
use crate::common::{calm, chat};

pub fn gateway() -> Builder {
    calm().set("auth.login_attempts", "2")
}

/// One setting: how it is read and written, a change, and what is no change.
struct Setting {
    read: &'static str,
    write: &'static str,
    change: Value,
    wrong: Value,
}

pub async fn walk(area: &Area) {
    let proxy = Proxy::start(Kind::Http, None).await;
    let way = json!({"type": "http", "host": "127.0.0.1", "port": proxy.addr.port()});
    let settings = [
        Setting {
            read: "GET /api/settings",
            write: "PUT /api/settings",
            change: json!({"instanceName": "west", "requestRetry": 2}),
            wrong: json!({"requestRety": 2}),
        },
        Setting {
            read: "GET /api/settings/ip-filter",
            write: "PUT /api/settings/ip-filter",
            change: json!({"enabled": true, "blacklist": ["203.0.113.0/24"]}),
            wrong: json!({"blacklist": ["999.1.1.1"]}),
        },
        Setting {
            read: "GET /api/settings/system-prompt",
            write: "PUT /api/settings/system-prompt",
            change: json!({"enabled": true, "prompt": "be kind"}),
            wrong: json!({"mode": "loud"}),
        },
        Setting {
            read: "GET /api/settings/thinking-budget",
            write: "PUT /api/settings/thinking-budget",
            change: json!({"mode": "custom", "customBudget": 900}),
            wrong: json!({"mode": "deep"}),
        },
        Setting {
            read: "GET /api/settings/combo-defaults",
            write: "PUT /api/settings/combo-defaults",
            change: json!({"comboDefaults": {"fallbackStrategy": "random"}}),
            wrong: json!({"comboDefaults": {"strategy": 7}}),
        },
        Setting {
            read: "GET /api/settings/proxy",
            write: "PUT /api/settings/proxy",
            change: json!({"providers": {area.site.at_a.node.clone(): way}}),
            wrong: json!({"level": "moon", "proxy": way}),
        },
    ];
    for setting in &settings {
        kept(area, setting).await;
    }
    area.asks("a/m", 200).await;
    let sent = area.site.a.control.requests().pop().map(|asked| asked.body).unwrap_or_default();
    area.must("the instructions are really sent", sent.contains("be kind"), &sent);
    area.expect("through the proxy", proxy.asked().len(), 1);
    apart(area, &way).await;
}

/// Read, changed, read back; two who read the same version do not overwrite each other.
async fn kept(area: &Area, setting: &Setting) {
    let read = || area.call(setting.read);
    let write = || area.call(setting.write);
    let before = read().answers(200).await;
    let stale = before.header("etag").unwrap_or_default().to_owned();

    let changed = write().json(setting.change.clone()).header("If-Match", &stale).says(200).await;
    let after = read().says(200).await;
    area.expect(setting.write, &after["version"], &json!(1));
    for (field, value) in setting.change.as_object().into_iter().flatten() {
        area.must(setting.write, &after[field] == value || value.is_object(), (field, &after));
        area.expect(setting.write, &after[field], &changed[field]);
    }
    write().json(setting.change.clone()).header("If-Match", &stale).says(412).await;
    write().json(setting.change.clone()).header("If-Match", "yesterday").says(400).await;
    let mut old = setting.change.clone();
    old["version"] = json!(0);
    write().json(old).says(409).await;
    write().json(setting.wrong.clone()).says(400).await;
    write().json(json!({})).says(400).await;
    area.expect("what was refused changed nothing", read().says(200).await, after);
}

/// What only one of them can say.
async fn apart(area: &Area, way: &Value) {
    let put = || area.call("PUT /api/settings");
    put().json(json!({"newPassword": "another long password"})).says(400).await;
    for status in [401, 401, 429] {
        put().json(json!({"newPassword": "another long password", "currentPassword": "wrong"})).says(status).await;
    }
    let blocked = area.site.gateway.ask(&chat("a/m", false).header("X-Forwarded-For", "203.0.113.9")).await;
    area.expect("nobody vouches for that address", blocked.status(), 200);
    area.call("PUT /api/settings/ip-filter").json(json!({"blacklist": ["127.0.0.1"]})).says(409).await;

    let get = || area.call("GET /api/settings/proxy");
    get().query("level=moon").says(400).await;
    get().query("resolve=nobody").says(404).await;
    let resolved = get().query(&format!("resolve={}", area.site.at_a.connections[0])).says(200).await;
    area.expect("the nearest level counts", &resolved["level"], &json!("provider"));

    let test = || area.call("POST /api/settings/proxy/test");
    let tried = test().json(json!({"proxy": way})).says(200).await;
    area.must("a test tells how long it took", tried["latencyMs"].is_number(), &tried);
    test().json(json!({})).says(400).await;
    test().json(json!({"level": "global"})).says(400).await;
}
