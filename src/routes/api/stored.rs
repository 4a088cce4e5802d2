//! How settings are written: checked against the version that the caller knows, tried again when another writer was
//! faster, written down, and in force before the answer.

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use serde_json::{Value, json};

use crate::routes::{Call, Form, Refusal};
use crate::settings::Stored;
use crate::store::{SettingRow, StoreError};

/// Writers that meet: each tries again on what the other wrote.
const TRIES: usize = 5;

/// The version that a caller read; with none, whatever is there is changed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    header: Option<i64>,
    field: Option<i64>,
}

impl Known {
    /// By `If-Match`.
    pub(super) fn by_header(call: &Call) -> Result<Self, Refusal> {
        let Some(header) = call.request.headers().get(IF_MATCH) else { return Ok(Self::default()) };
        let text = header.to_str().unwrap_or_default().trim().trim_start_matches("W/").trim_matches('"');
        let header = match text {
            "*" => None,
            version => Some(version.parse().map_err(|_| Refusal::bad_request("If-Match must be a version"))?),
        };
        Ok(Self { header, field: None })
    }

    /// By `If-Match`, or by the field `version` of the body.
    pub(super) fn read(call: &Call, form: &mut Form) -> Result<Self, Refusal> {
        Ok(Self { field: form.integer("version", 0..=i64::MAX), ..Self::by_header(call)? })
    }

    fn check(self, version: i64) -> Result<(), Refusal> {
        let message = || format!("The settings are at version {version} now");
        if self.header.is_some_and(|known| known != version) {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", message()));
        }
        if self.field.is_some_and(|known| known != version) {
            return Err(Refusal::conflict(message()).beside("version", version));
        }
        Ok(())
    }
}

/// Change a row. `change` is given what is there, and may be asked again.
pub(super) async fn edit(
    call: &Call,
    key: &str,
    known: Known,
    mut change: impl FnMut(Option<&Value>) -> Result<Value, Refusal>,
) -> Result<SettingRow, Refusal> {
    for _ in 0..TRIES {
        let before = call.app.store.settings().get(key).await?;
        let version = before.as_ref().map_or(0, |row| row.version);
        known.check(version)?;
        let value = change(before.as_ref().map(|row| &row.value))?;
        match call.app.store.settings().put(key, value, Some(version), call.now()).await {
            Err(StoreError::Conflict(_)) => {}
            other => return Ok(other?),
        }
    }
    Err(Refusal::conflict("Others are changing the same settings; try again"))
}

/// Change a setting that has a row of its own, and put it into force. `given` are the fields for the audit log.
pub(super) async fn edit_as<T: Stored + Serialize>(
    call: &Call,
    known: Known,
    given: Vec<String>,
    change: impl Fn(&mut T) -> Result<(), Refusal>,
) -> Result<SettingRow, Refusal> {
    let row = edit(call, T::KEY, known, |before| {
        let mut setting = T::of(before);
        change(&mut setting)?;
        Ok(json!(setting))
    });
    let row = row.await?;
    call.audit("settings.updated", T::KEY, json!({"fields": given, "version": row.version})).await;
    call.refresh().await?;
    Ok(row)
}

/// An answer that names its version.
pub(super) fn with_version(stored: Option<&SettingRow>) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((ETAG, format!("\"{}\"", stored.map_or(0, |row| row.version))));
    response
}
