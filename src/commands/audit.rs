//! `omniroute audit`: is the audit log as it was written?

use std::io::Write;

use serde_json::json;

use crate::boot::Foundation;
use crate::cli::{AuditCommand, CliError};
use crate::store::{AuditEntry, AuditVerdict, Store};

/// Do what was asked for.
///
/// # Errors
/// When the log is not as it was written, with the first row that is wrong, or the store does not answer.
pub async fn run(
    command: AuditCommand,
    foundation: &Foundation,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let AuditCommand::Verify { head } = command;
    match foundation.store.audit().verify(head.as_deref()).await? {
        AuditVerdict::Intact { rows, head } if json => {
            Ok(writeln!(out, "{}", json!({"ok": true, "rows": rows, "head": head}))?)
        }
        AuditVerdict::Intact { rows, head } => {
            writeln!(out, "The audit log is as it was written: {rows} rows.")?;
            Ok(writeln!(out, "Note the newest row's hash elsewhere: {head}")?)
        }
        AuditVerdict::Broken { id, reason } => {
            Err(CliError::Failure(format!("the audit log does not hold at row {id}: {reason}")))
        }
    }
}

/// Write down what was done at the command line.
///
/// # Errors
/// When the store does not take it.
pub async fn note(store: &Store, action: &str, target: &str, particulars: serde_json::Value) -> Result<(), CliError> {
    let at = jiff::Timestamp::now().as_millisecond();
    let entry = AuditEntry::by_system(at, action, target, particulars);
    store.audit().append(AuditEntry { actor: "command line".to_owned(), ..entry }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    #[tokio::test]
    async fn a_log_that_holds_is_told_with_its_head_and_a_wrong_head_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.storage.data_dir = dir.path().join("data");
        let foundation = Foundation::open(&config, &Environment::default()).unwrap();
        note(&foundation.store, "apikey.created", "k", json!({})).await.unwrap();
        let verify = async |head: Option<String>| {
            let mut out = Vec::new();
            let done = run(AuditCommand::Verify { head }, &foundation, true, &mut out).await;
            (done, String::from_utf8(out).unwrap())
        };

        let (held, text) = verify(None).await;
        let (missing, _) = verify(Some("f".repeat(64))).await;

        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(held.is_ok() && told["rows"] == 1 && told["head"].as_str().unwrap().len() == 64, "{told}");
        let refused = missing.unwrap_err();
        assert!(refused.code() == 1 && refused.to_string().contains("row 2"), "{refused}");
    }
}
