//! Backups: made, listed, taken away, brought back. On PostgreSQL the forms that are files name what to use instead.

use omniroute_testkit::gateway::Builder;
use serde_json::{Value, json};

use super::area::{Area, text};
use crate::common::calm;
use crate::common::engine::Engine;

pub fn gateway() -> Builder {
    calm().set("backups.max_import_bytes", "1000000")
}

pub async fn walk(area: &Area) {
    let archive = area.call("GET /api/db-backups/exportAll").answers(200).await;
    area.must("an archive", archive.body.starts_with(&[0x1f, 0x8b]), &archive.head);
    match area.engine {
        Engine::Sqlite => {
            restored(area).await;
            imported(area).await;
        }
        Engine::Postgres => elsewhere(area).await,
    }
}

async fn restored(area: &Area) {
    let made = area.call("PUT /api/db-backups").says(200).await;
    area.site.admin.create_combo("later", "priority", &["a/m"]).await;
    let listed = area.call("GET /api/db-backups").says(200).await;
    area.expect("a backup is listed", &listed["backups"][0]["id"], &made["id"]);

    let post = || area.call("POST /api/db-backups");
    let restored = post().json(json!({"backupId": made["id"]})).says(200).await;
    area.expect("the rows of then", &restored["comboCount"], &json!(1));
    area.asks("later", 404).await;
    area.asks("team", 200).await;
    post().json(json!({})).says(400).await;
    post().json(json!({"backupId": "../../etc/passwd"})).says(404).await;
}

async fn imported(area: &Area) {
    let exported = area.call("GET /api/db-backups/export").answers(200).await;
    area.site.admin.create_combo("later", "priority", &["a/m"]).await;
    let import = || area.call("POST /api/db-backups/import").header("Content-Type", "application/octet-stream");
    let taken = import().query("filename=omniroute.sqlite").bytes(exported.body.clone()).says(200).await;
    area.expect("a file is taken in", &taken["imported"], &json!(true));
    area.asks("later", 404).await;
    import().bytes(b"no database".repeat(1_000)).says(400).await;
    import().query("filename=omniroute.txt").bytes(exported.body).says(400).await;
    import().bytes(vec![0; 1_100_000]).says(413).await;
}

async fn elsewhere(area: &Area) {
    let listed = area.call("GET /api/db-backups").says(200).await;
    area.expect("there are none", &listed["backups"], &Value::Array(Vec::new()));
    let refused = [
        area.call("PUT /api/db-backups").says(501).await,
        area.call("POST /api/db-backups").json(json!({"backupId": "x"})).says(501).await,
        area.call("GET /api/db-backups/export").says(501).await,
        area.call("POST /api/db-backups/import").bytes("x").says(501).await,
    ];
    for answer in refused {
        area.must("what to use", text(&answer["error"]["message"]).contains("pg_dump"), &answer);
    }
}
