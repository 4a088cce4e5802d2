//! `/api/providers/bulk` and `/api/providers/import`: many connections at a time. Every row is answered for by itself; what
//! is right is stored, what is not is said, unless the caller wants all or nothing.

use std::collections::HashSet;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::connection_checks::drafted;
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::store::ConnectionRow;

const MOST_ROWS: usize = 1_000;
/// Columns of a table that are numbers or truth values; every other one is a text.
const NUMBERS: [&str; 3] = ["priority", "globalPriority", "maxConcurrent"];
const FLAGS: [&str; 2] = ["isActive", "rateLimitProtection"];
/// What stands before the names of columns that belong to the provider's own data.
const DATA: &str = "providerSpecificData";

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    vec![
        RouteSpec::post("/api/providers/bulk", M, "Add many keys of one provider", bulk),
        RouteSpec::post("/api/providers/import", M, "Add connections from a list or a table", import),
    ]
}

/// How many rows are taken.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// All or none.
    atomic: bool,
    /// Only looked at.
    dry_run: bool,
}

impl Manner {
    fn read(form: &mut Form) -> Self {
        let [atomic, dry_run] = ["atomic", "dryRun"].map(|name| form.flag(name).unwrap_or_default());
        Self { atomic, dry_run }
    }
}

/// `keys` (or `connections`): texts, or objects with the fields of a connection.
async fn bulk(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    form.require("provider");
    let provider = form.text("provider", 1..=100).unwrap_or_default();
    let prefix = form.text("namePrefix", 1..=150).unwrap_or_else(|| provider.clone());
    let manner = Manner::read(&mut form);
    let rows = rows(&mut form, &["keys", "connections"]);
    form.finish()?;
    let row = |(nth, row): (usize, Value)| {
        let mut fields = match row {
            Value::Object(fields) => fields,
            key => Map::from_iter([("apiKey".to_owned(), key)]),
        };
        fields.entry("provider").or_insert_with(|| json!(provider));
        fields.entry("name").or_insert_with(|| json!(format!("{prefix} {}", nth + 1)));
        fields
    };
    let rows = rows.into_iter().enumerate().map(row).collect();
    take(&call, rows, manner).await
}

/// `connections`: a list; or `csv`: a table whose first line names the fields.
async fn import(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let manner = Manner::read(&mut form);
    let rows = match form.text("csv", 1..=5_000_000) {
        Some(text) => table(&mut form, &text),
        None => rows(&mut form, &["connections"]),
    };
    form.finish()?;
    let fields = |row: Value| row.as_object().cloned().unwrap_or_default();
    take(&call, rows.into_iter().map(fields).collect(), manner).await
}

fn rows(form: &mut Form, names: &[&str]) -> Vec<Value> {
    let mut given = names.iter().filter_map(|name| Some((*name, form.any(name)?)));
    let Some((name, list)) = given.next() else {
        form.problem(names.first().copied().unwrap_or_default(), "Required");
        return Vec::new();
    };
    match list {
        Value::Array(rows) if (1..=MOST_ROWS).contains(&rows.len()) => rows,
        _ => {
            form.problem(name, format!("Expected a list of 1 to {MOST_ROWS}"));
            Vec::new()
        }
    }
}

/// Empty fields are left out; `providerSpecificData.region` is a column of the provider's own data.
fn table(form: &mut Form, text: &str) -> Vec<Value> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let names: Vec<String> =
        reader.headers().map(|names| names.iter().map(str::to_owned).collect()).unwrap_or_default();
    let mut rows = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => rows.push(names.iter().zip(record.iter()).fold(json!({}), with_cell)),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                form.problem("csv", format!("Line {line} has not as many fields as the first one, or is no text"));
                return Vec::new();
            }
        }
    }
    if rows.is_empty() || rows.len() > MOST_ROWS {
        form.problem("csv", format!("Expected 1 to {MOST_ROWS} lines after the one that names the fields"));
    }
    rows
}

fn with_cell(mut row: Value, (name, text): (&String, &str)) -> Value {
    if text.is_empty() {
        return row;
    }
    if let Some(own) = name.strip_prefix(DATA).and_then(|rest| rest.strip_prefix('.')) {
        let mut data = row.get(DATA).cloned().unwrap_or_else(|| json!({}));
        put(&mut data, own, json!(text));
        put(&mut row, DATA, data);
        return row;
    }
    let value = match name.as_str() {
        name if NUMBERS.contains(&name) => text.parse::<i64>().map_or_else(|_| json!(text), Value::from),
        name if FLAGS.contains(&name) => text.parse::<bool>().map_or_else(|_| json!(text), Value::from),
        _ => json!(text),
    };
    put(&mut row, name, value);
    row
}

/// What became of a row.
enum Verdict {
    Good(Box<ConnectionRow>),
    Duplicate(Box<ConnectionRow>),
    Wrong(Refusal),
}

async fn take(call: &Call, rows: Vec<Map<String, Value>>, manner: Manner) -> Result<HttpResponse, Refusal> {
    let mut verdicts = Vec::with_capacity(rows.len());
    let mut known: HashSet<(String, String)> =
        call.app.directory.listed().iter().filter_map(|entry| key(&entry.row)).collect();
    for fields in rows {
        verdicts.push(match drafted(call, Form::part(fields, "")).await {
            Err(refusal) => Verdict::Wrong(refusal),
            Ok(row) if key(&row).is_some_and(|key| !known.insert(key)) => Verdict::Duplicate(Box::new(row)),
            Ok(row) => Verdict::Good(Box::new(row)),
        });
    }
    let good: Vec<ConnectionRow> = verdicts.iter().filter_map(Verdict::row).cloned().collect();
    let whole = good.len() == verdicts.len();
    let stored = !manner.dry_run && !good.is_empty() && (whole || !manner.atomic);
    if stored {
        call.app.store.connections().insert_many(&good).await?;
        for row in &good {
            let particulars = json!({"provider": row.provider, "name": row.name, "bulk": true});
            call.audit("provider.credentials.created", &row.id, particulars).await;
        }
        call.refresh().await?;
    }
    Ok(answer(&verdicts, manner, stored))
}

/// Two connections with the same key at the same provider are the same account.
fn key(row: &ConnectionRow) -> Option<(String, String)> {
    let key = row.credential.as_ref()?.expose_secret();
    Some((row.provider.clone(), key.to_owned()))
}

fn answer(verdicts: &[Verdict], manner: Manner, stored: bool) -> HttpResponse {
    let count = |fits: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| fits(verdict)).count();
    let duplicates = count(|verdict| matches!(verdict, Verdict::Duplicate(_)));
    let invalid = count(|verdict| matches!(verdict, Verdict::Wrong(_)));
    let good = verdicts.len() - duplicates - invalid;
    let status = match (duplicates + invalid, stored || manner.dry_run) {
        (0, _) => StatusCode::OK,
        (_, true) => StatusCode::MULTI_STATUS,
        (_, false) => StatusCode::BAD_REQUEST,
    };
    let results: Vec<_> = verdicts.iter().enumerate().map(|(index, verdict)| verdict.to_json(index, stored)).collect();
    let mut body = json!({
        "success": duplicates + invalid == 0,
        "dryRun": manner.dry_run,
        "atomic": manner.atomic,
        "total": verdicts.len(),
        "created": if stored { good } else { 0 },
        "duplicates": duplicates,
        "failed": invalid,
        "results": results,
    });
    if status == StatusCode::BAD_REQUEST {
        let why = json!({"message": "Nothing was stored; see results", "type": "invalid_request_error", "code": "bad_request"});
        put(&mut body, "error", why);
    }
    HttpResponse::build(status).json(body)
}

impl Verdict {
    fn row(&self) -> Option<&ConnectionRow> {
        match self {
            Self::Good(row) => Some(row),
            Self::Duplicate(_) | Self::Wrong(_) => None,
        }
    }

    fn to_json(&self, index: usize, stored: bool) -> Value {
        match self {
            Self::Good(row) => json!({
                "index": index, "status": if stored { "created" } else { "valid" },
                "id": stored.then_some(&row.id), "provider": row.provider, "name": row.name,
            }),
            Self::Duplicate(row) => json!({
                "index": index, "status": "duplicate", "provider": row.provider, "name": row.name,
                "error": "A connection with this credential is there already",
            }),
            Self::Wrong(refusal) => json!({
                "index": index, "status": "invalid", "error": refusal.message(), "details": refusal.details(),
            }),
        }
    }
}
