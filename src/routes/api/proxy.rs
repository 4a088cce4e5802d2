//! `/api/settings/proxy`: which calls to providers go through which proxy, and whether one works.
//!
//! Levels: `global`, `provider`, `combo` and `key` (one connection; `account` and `connection` mean the same). Passwords are
//! never shown; whoever sends back what was shown keeps the stored one, as long as it goes to the same place.

use actix_web::{HttpResponse, web};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use url::Url;

use super::proxy_test;
use super::stored::{Known, edit_as, with_version};
use crate::routes::body::put;
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::settings::proxies::{DIRECT, Entry, Place};
use crate::settings::{Proxies, Stored};
use crate::store::SettingRow;
use crate::upstream::{Caller, ProxyKind, Way};

/// What stands for a password that is stored.
const MASKED: &str = "***";
/// SOCKS has one byte for the length of each.
const LOGIN_CHARS: usize = 255;
const MOST_ENTRIES: usize = 1_000;
/// The words for levels, and the maps of the form that sets many.
const LEVELS: [&str; 6] = ["global", "provider", "combo", "key", "account", "connection"];
const MAPS: [(&str, &str); 3] = [("providers", "provider"), ("combos", "combo"), ("keys", "key")];

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/settings/proxy";
    vec![
        RouteSpec::get(path, M, "Which calls go through which proxy", show),
        RouteSpec::put(path, M, "Set proxies; null clears one", change),
        RouteSpec::patch(path, M, "Set proxies; null clears one", change),
        RouteSpec::delete(path, M, "Clear the proxy of one level", clear),
        RouteSpec::post("/api/settings/proxy/test", M, "Whether a proxy works", proxy_test::test),
    ]
}

#[derive(Debug, serde::Deserialize)]
struct Query {
    level: Option<String>,
    id: Option<String>,
    resolve: Option<String>,
}

impl Query {
    fn place(&self, call: &Call) -> Result<Option<Place>, Refusal> {
        let Some(level) = self.level.clone() else { return Ok(None) };
        let mut form = Form::default();
        let place = place(call, &mut form, &level, self.id.clone());
        form.finish()?;
        Ok(place)
    }
}

async fn show(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    if let Some(connection) = &query.resolve {
        return Ok(HttpResponse::Ok().json(resolved(&call, connection)?));
    }
    let place = query.place(&call)?;
    let stored = call.app.store.settings().get(Proxies::KEY).await?;
    let proxies = Proxies::of(stored.as_ref().map(|row| &row.value));
    let view = match place {
        None => whole(&proxies, stored.as_ref()),
        Some(place) => json!({"level": place.level(), "id": place.id(), "proxy": shown(proxies.at(&place).as_ref())}),
    };
    Ok(with_version(stored.as_ref()).json(view))
}

/// What holds for a connection, and which level says so.
fn resolved(call: &Call, connection: &str) -> Result<Value, Refusal> {
    if !call.app.directory.listed().iter().any(|entry| entry.row.id == connection) {
        return Err(Refusal::not_found("There is no such connection"));
    }
    let (ways, settings) = (call.app.clients.ways(), call.app.directory.settings());
    let caller = Caller { connection: Some(connection), ..Caller::default() };
    let Some((level, id, way)) = ways.choice(caller) else {
        return Ok(json!({"proxy": null, "level": DIRECT, "levelId": null}));
    };
    let place = match (level, id) {
        ("key", Some(id)) => Place::Connection(id.to_owned()),
        ("provider", Some(id)) => Place::Provider(id.to_owned()),
        _ => Place::Global,
    };
    let proxy = if matches!(way, Way::Direct) { Value::Null } else { shown(settings.proxies.at(&place).as_ref()) };
    Ok(json!({"proxy": proxy, "level": level, "levelId": place.id()}))
}

/// All of it, without one password.
fn whole(proxies: &Proxies, stored: Option<&SettingRow>) -> Value {
    let mut view = json!({"global": null, "providers": {}, "combos": {}, "keys": {}});
    for place in proxies.places() {
        let entry = shown(proxies.at(&place).as_ref());
        match MAPS.iter().find(|(_, level)| *level == place.level()) {
            Some((map, _)) => {
                if let (Some(list), Some(id)) = (view.get_mut(*map), place.id()) {
                    put(list, id, entry);
                }
            }
            None => put(&mut view, "global", entry),
        }
    }
    put(&mut view, "version", json!(stored.map_or(0, |row| row.version)));
    view
}

fn shown(entry: Option<&Entry>) -> Value {
    let Some(entry) = entry else { return Value::Null };
    if entry.r#type == DIRECT {
        return json!({"type": DIRECT});
    }
    json!({
        "type": entry.r#type, "host": entry.host, "port": entry.port, "username": entry.username,
        "password": entry.sealed.as_ref().map(|_| MASKED), "fallbackToDirect": entry.fallback_to_direct,
    })
}

/// The place that these words mean. Whose it is must exist.
pub(super) fn place(call: &Call, form: &mut Form, level: &str, id: Option<String>) -> Option<Place> {
    if !LEVELS.contains(&level) {
        form.problem("level", format!("Expected one of: {}", LEVELS.join(", ")));
        return None;
    }
    if level == "global" {
        return Some(Place::Global);
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        form.problem("id", "Required, unless the level is global");
        return None;
    };
    let found = match level {
        "provider" => provider(call, &id).map(Place::Provider),
        "combo" => call.app.directory.combos().iter().any(|combo| combo.name == id).then(|| Place::Combo(id.clone())),
        _ => {
            let listed = call.app.directory.listed();
            listed.iter().any(|entry| entry.row.id == id).then(|| Place::Connection(id.clone()))
        }
    };
    if found.is_none() {
        form.problem("id", format!("There is no such {level}: {id}"));
    }
    found
}

fn provider(call: &Call, name: &str) -> Option<String> {
    let plan = call.app.plan.load();
    let by_prefix = plan.prefixes.get(name).map(ToString::to_string);
    by_prefix.or_else(|| plan.providers.keys().any(|id| id.as_str() == name).then(|| name.to_owned()))
}

/// A proxy as a caller writes it.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) entry: Entry,
    /// Nothing said leaves the stored one; an empty one takes it away.
    pub(super) password: Option<SecretString>,
}

/// An object, or a URL; problems are named under `path`.
pub(super) fn proxy(call: &Call, form: &mut Form, value: &Value, path: &str) -> Option<Given> {
    let fields = match value {
        Value::Object(fields) => fields.clone(),
        Value::String(text) if text == DIRECT => Map::from_iter([("type".to_owned(), json!(DIRECT))]),
        Value::String(text) => match of_url(text) {
            Some(fields) => fields,
            None => {
                form.problem(path, "Expected a proxy such as http://proxy.example:3128");
                return None;
            }
        },
        _ => {
            form.problem(path, "Expected an object or a URL");
            return None;
        }
    };
    let mut part = Form::part(fields, path);
    let given = fields_of(call, &mut part);
    let problems = part.into_problems();
    let good = problems.is_empty();
    form.problems(problems);
    given.filter(|_| good)
}

fn of_url(text: &str) -> Option<Map<String, Value>> {
    let text = text.replacen("socks5h://", "socks5://", 1);
    let url = Url::parse(&text).ok()?;
    let decoded =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let mut fields = Map::new();
    fields.insert("type".to_owned(), json!(url.scheme()));
    fields.insert("host".to_owned(), json!(url.host_str()?));
    fields
        .insert("port".to_owned(), json!(url.port_or_known_default().or((url.scheme() == "socks5").then_some(1080))?));
    if !url.username().is_empty() {
        fields.insert("username".to_owned(), json!(decoded(url.username())?));
        fields.insert("password".to_owned(), json!(decoded(url.password().unwrap_or_default())?));
    }
    Some(fields)
}

fn fields_of(call: &Call, part: &mut Form) -> Option<Given> {
    let mut words = ProxyKind::WORDS.to_vec();
    words.push(DIRECT);
    let r#type = part.word("type", &words).unwrap_or_else(|| ProxyKind::Http.as_str().to_owned());
    if r#type == DIRECT {
        part.let_pass(["host", "port", "username", "password", "fallbackToDirect"]);
        let entry =
            Entry { r#type, host: String::new(), port: 0, username: None, sealed: None, fallback_to_direct: false };
        return Some(Given { entry, password: None });
    }
    part.require("host");
    part.require("port");
    let host = part.text("host", 1..=255).map(|host| host.trim_matches(['[', ']']).to_owned());
    let port = part.integer("port", 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let username = part.text("username", 0..=LOGIN_CHARS).filter(|name| !name.is_empty());
    let password = part.text("password", 0..=LOGIN_CHARS).filter(|password| password != MASKED);
    let fallback_to_direct = part.flag("fallbackToDirect").unwrap_or(false);
    if password.as_ref().is_some_and(|password| !password.is_empty()) && username.is_none() {
        part.problem("username", "Required where there is a password");
    }
    if username.as_ref().is_some_and(|name| name.contains(':') || name.chars().any(char::is_control)) {
        part.problem("username", "Must not hold a colon or control characters");
    }
    let (host, port) = (host?, port?);
    check_host(call, part, &host, port);
    let entry = Entry { r#type, host, port, username, sealed: None, fallback_to_direct };
    Some(Given { entry, password: password.map(SecretString::from) })
}

fn check_host(call: &Call, part: &mut Form, host: &str, port: u16) {
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if url::Host::parse(&bracketed).is_err() {
        part.problem("host", "Expected a name or an address");
    } else if let Err(refusal) = call.app.clients.policy().check_proxy(&bracketed, port) {
        part.problem("host", refusal.to_string());
    }
}

/// One place with what is to be there.
type Wish = (Place, Option<Given>);

fn wishes(call: &Call, form: &mut Form) -> Vec<Wish> {
    let mut wishes = Vec::new();
    if let Some(level) = form.text("level", 1..=20) {
        let id = form.text("id", 0..=512);
        let value = form.any("proxy");
        if value.is_none() {
            form.problem("proxy", "Required; null clears it");
        }
        let place = place(call, form, &level, id);
        wishes.extend(place.zip(value.and_then(|value| wish(call, form, value, "proxy"))));
    }
    if let Some(value) = form.any("global") {
        wishes.extend(wish(call, form, value, "global").map(|given| (Place::Global, given)));
    }
    for (map, level) in MAPS {
        for (id, value) in form.object(map).unwrap_or_default() {
            let path = format!("{map}.{id}");
            let place = place(call, form, level, Some(id));
            wishes.extend(place.zip(wish(call, form, value, &path)));
        }
    }
    wishes
}

/// Null clears; what is wrong is noted and is no wish.
fn wish(call: &Call, form: &mut Form, value: Value, path: &str) -> Option<Option<Given>> {
    if value.is_null() { Some(None) } else { proxy(call, form, &value, path).map(Some) }
}

async fn change(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let known = Known::read(&call, &mut form)?;
    let wishes = wishes(&call, &mut form);
    if form.is_empty() {
        form.problem("", "Expected level and proxy, or global, providers, combos, keys");
    }
    form.finish()?;
    store(&call, known, wishes).await
}

async fn clear(call: Call, query: web::Query<Query>) -> Result<HttpResponse, Refusal> {
    let place = query.place(&call)?.ok_or_else(|| Refusal::bad_request("level is required"))?;
    store(&call, Known::by_header(&call)?, vec![(place, None)]).await
}

async fn store(call: &Call, known: Known, wishes: Vec<Wish>) -> Result<HttpResponse, Refusal> {
    let named = wishes.iter().map(|(place, _)| format!("{}:{}", place.level(), place.id().unwrap_or_default()));
    let row = edit_as(call, known, named.collect(), |proxies: &mut Proxies| {
        for (place, given) in &wishes {
            let entry = given.as_ref().map(|given| entry(call, proxies, place, given)).transpose()?;
            proxies.set(place, entry.as_ref());
        }
        if proxies.places().len() > MOST_ENTRIES {
            return Err(Refusal::bad_request(format!("At most {MOST_ENTRIES} proxies can be set")));
        }
        Ok(())
    });
    let row = row.await?;
    Ok(with_version(Some(&row)).json(whole(&Proxies::of(Some(&row.value)), Some(&row))))
}

/// With its password under seal: the new one, or the stored one if it goes to the same place.
fn entry(call: &Call, proxies: &Proxies, place: &Place, given: &Given) -> Result<Entry, Refusal> {
    use secrecy::ExposeSecret;
    let mut entry = given.entry.clone();
    match &given.password {
        Some(password) if password.expose_secret().is_empty() => {}
        Some(password) => entry.seal(place, password, &call.app.vault).map_err(|_| Refusal::internal())?,
        None => {
            let stored = proxies.at(place).filter(|stored| stored.is_at(&entry));
            entry.sealed = stored.and_then(|stored| stored.sealed);
        }
    }
    Ok(entry)
}
