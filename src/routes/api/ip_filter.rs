//! `/api/settings/ip-filter`: which client addresses are let in. Whoever asks for what would keep themselves out is
//! refused, unless they say `force`.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::stored::{Known, edit_as, with_version};
use crate::config::Network;
use crate::routes::body::{iso, put};
use crate::routes::{Call, Form, JsonBody, Refusal, RouteSpec, Scope};
use crate::settings::ip_filter::{Ban, MODES, Mode};
use crate::settings::{IpFilter, Stored};
use crate::store::SettingRow;

/// Most lines of a list; each costs every request a look.
const MOST_LINES: usize = 1_000;
/// The longest text of a network.
const LINE_CHARS: usize = 50;
const MOST_BANS: usize = 1_000;
/// How long a ban is, when nobody says how long.
const BAN_MS: i64 = 3_600_000;
/// Ten years.
const LONGEST_BAN_MS: i64 = 315_360_000_000;

pub(super) fn routes() -> Vec<RouteSpec> {
    use Scope::Management as M;
    let path = "/api/settings/ip-filter";
    vec![
        RouteSpec::get(path, M, "Which client addresses are let in", show),
        RouteSpec::put(path, M, "Change which client addresses are let in", change),
        RouteSpec::patch(path, M, "Change which client addresses are let in", change),
    ]
}

async fn show(call: Call) -> Result<HttpResponse, Refusal> {
    let stored = call.app.store.settings().get(IpFilter::KEY).await?;
    Ok(with_version(stored.as_ref()).json(view(&call, stored.as_ref())))
}

fn view(call: &Call, stored: Option<&SettingRow>) -> Value {
    let (mut filter, now) = (IpFilter::of(stored.map(|row| &row.value)), call.now());
    filter.forget_past(now);
    let ban = |ban: &Ban| json!({"ip": ban.ip, "until": iso(ban.until), "reason": ban.reason, "remainingMs": ban.until.saturating_sub(now)});
    let bans: Vec<_> = filter.temp_bans.iter().map(ban).collect();
    let mut view = json!(filter);
    put(&mut view, "tempBans", json!(bans));
    put(&mut view, "callerAddress", json!(call.ip()));
    put(&mut view, "version", json!(stored.map_or(0, |row| row.version)));
    view
}

/// What a caller wants changed.
#[derive(Debug, Default)]
struct Change {
    enabled: Option<bool>,
    mode: Option<Mode>,
    blacklist: List,
    whitelist: List,
    ban: Option<Ban>,
    unban: Option<IpAddr>,
}

/// A list as a whole, or by its lines.
#[derive(Debug, Default)]
struct List {
    all: Option<Vec<Network>>,
    add: Vec<Network>,
    remove: Vec<Network>,
}

impl List {
    fn read(form: &mut Form, all: &str, add: &str, remove: &str) -> Self {
        let whole = form.has(all).then(|| networks(form, all));
        Self { all: whole, add: networks(form, add), remove: networks(form, remove) }
    }

    fn change(&self, list: &mut Vec<Network>) {
        if let Some(all) = &self.all {
            list.clone_from(all);
        }
        for network in &self.add {
            if !list.contains(network) {
                list.push(*network);
            }
        }
        list.retain(|network| !self.remove.contains(network));
    }
}

/// One network, or a list of them.
fn networks(form: &mut Form, field: &str) -> Vec<Network> {
    let lines = match form.raw(field) {
        Some(Value::String(line)) => {
            let line = line.clone();
            form.any(field);
            vec![line]
        }
        _ => form.texts(field, MOST_LINES, LINE_CHARS).unwrap_or_default(),
    };
    let mut read = Vec::with_capacity(lines.len());
    for line in lines {
        match line.trim().parse() {
            Ok(network) => read.push(network),
            Err(why) => form.problem(field, why),
        }
    }
    read
}

impl Change {
    fn read(form: &mut Form, now: i64) -> Self {
        let mode = form.word("mode", &MODES);
        Self {
            enabled: form.flag("enabled"),
            mode: mode.map(|word| if word.starts_with('b') { Mode::Blacklist } else { Mode::Whitelist }),
            blacklist: List::read(form, "blacklist", "addBlacklist", "removeBlacklist"),
            whitelist: List::read(form, "whitelist", "addWhitelist", "removeWhitelist"),
            ban: form.object("tempBan").and_then(|fields| ban(form, Form::part(fields, "tempBan"), now)),
            unban: form.text("removeBan", 1..=LINE_CHARS).and_then(|text| address(form, "removeBan", &text)),
        }
    }

    fn apply(&self, filter: &mut IpFilter, now: i64) -> Result<(), Refusal> {
        filter.enabled = self.enabled.unwrap_or(filter.enabled);
        filter.mode = self.mode.unwrap_or(filter.mode);
        self.blacklist.change(&mut filter.blacklist);
        self.whitelist.change(&mut filter.whitelist);
        filter.forget_past(now);
        let gone = self.ban.as_ref().map(|ban| ban.ip).into_iter().chain(self.unban);
        for ip in gone {
            filter.temp_bans.retain(|ban| ban.ip != ip);
        }
        filter.temp_bans.extend(self.ban.clone());
        if filter.blacklist.len().max(filter.whitelist.len()) > MOST_LINES || filter.temp_bans.len() > MOST_BANS {
            return Err(Refusal::bad_request("The lists would be too long"));
        }
        Ok(())
    }
}

fn address(form: &mut Form, field: &str, text: &str) -> Option<IpAddr> {
    let read = text.trim().parse::<IpAddr>();
    if read.is_err() {
        form.problem(field, "Expected an address such as 192.0.2.7");
    }
    read.ok().map(|ip| ip.to_canonical())
}

fn ban(form: &mut Form, mut part: Form, now: i64) -> Option<Ban> {
    part.require("ip");
    let ip = part.text("ip", 1..=LINE_CHARS).and_then(|text| address(&mut part, "ip", &text));
    let lasts = part.integer("durationMs", 1..=LONGEST_BAN_MS).unwrap_or(BAN_MS);
    let reason = part.text("reason", 0..=200).unwrap_or_else(|| "Manual ban".to_owned());
    form.problems(part.into_problems());
    Some(Ban { ip: ip?, until: now.saturating_add(lasts), reason })
}

async fn change(call: Call, body: JsonBody) -> Result<HttpResponse, Refusal> {
    let mut form = Form::of(body)?;
    let (known, given) = (Known::read(&call, &mut form)?, form.names());
    let force = form.flag("force") == Some(true);
    form.let_pass(["tempBans", "callerAddress"]);
    let now = call.now();
    let change = Change::read(&mut form, now);
    if given.is_empty() {
        form.problem("", "No fields to update");
    }
    form.finish()?;
    let row = edit_as(&call, known, given, |filter: &mut IpFilter| {
        change.apply(filter, now)?;
        if force || filter.admits(call.origin.ip, now) { Ok(()) } else { Err(locks_out(&call)) }
    });
    let row = row.await?;
    Ok(with_version(Some(&row)).json(view(&call, Some(&row))))
}

fn locks_out(call: &Call) -> Refusal {
    let own = call.ip().unwrap_or_default();
    let message = format!("This would keep out {own}, where you are; say force: true if you mean it");
    Refusal::new(StatusCode::CONFLICT, "would_lock_out", message).beside("callerAddress", own)
}
