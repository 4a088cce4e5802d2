//! The state of connections as it is at the scrape.

use omniroute_actors::connection::snapshot::Snapshot;
use omniroute_actors::resilience::gate::BreakerState;
use omniroute_actors::resilience::health::ConnectionState;
use omniroute_actors::resilience::outcome::Terminal;

use super::float;
use super::page::Page;

const STATE: &str = "omniroute_connection_state";

/// Every word a state can have; each is a sample, so that an alert can name one that is not there yet.
const STATES: [ConnectionState; 9] = [
    ConnectionState::Ready,
    ConnectionState::Breaker(BreakerState::Degraded),
    ConnectionState::Breaker(BreakerState::Open),
    ConnectionState::Breaker(BreakerState::HalfOpen),
    ConnectionState::CoolingDown,
    ConnectionState::Terminal(Terminal::Expired),
    ConnectionState::Terminal(Terminal::Banned),
    ConnectionState::Terminal(Terminal::CreditsExhausted),
    ConnectionState::Disabled,
];

type Figure = (&'static str, &'static str, &'static str, fn(&Snapshot) -> f64);

const FIGURES: [Figure; 6] = [
    ("omniroute_connection_in_flight", "gauge", "Attempts in flight on a connection.", |of| f64::from(of.in_flight)),
    (
        "omniroute_connection_latency_seconds",
        "gauge",
        "Peak-sensitive moving average of the time to first content.",
        |of| of.latency_ms / 1000.0,
    ),
    ("omniroute_connection_lockouts", "gauge", "Models locked out on a connection.", |of| {
        float(of.lockouts.len() as u64)
    }),
    ("omniroute_connection_admitted_total", "counter", "Attempts that a connection took.", |of| float(of.admitted)),
    ("omniroute_connection_succeeded_total", "counter", "Attempts that ended with a whole answer.", |of| {
        float(of.succeeded)
    }),
    ("omniroute_connection_failed_total", "counter", "Attempts that ended otherwise, whoever was to blame.", |of| {
        float(of.failed)
    }),
];

/// With more connections than this, samples that are zero are left out: of ten thousand connections that is nearly all.
const MOST_WITH_ZEROS: usize = 1_000;

pub(super) fn write(page: &mut Page, snapshots: &[Snapshot]) {
    let zeros = snapshots.len() <= MOST_WITH_ZEROS;
    page.family(STATE, "gauge", "1 for the state that a connection is in, 0 for the others.");
    for snapshot in snapshots {
        states(page, snapshot, zeros);
    }
    for (name, kind, help, read) in FIGURES {
        page.family(name, kind, help);
        let values = snapshots.iter().map(|snapshot| (snapshot, read(snapshot)));
        for (snapshot, value) in values.filter(|(_, value)| zeros || *value != 0.0) {
            page.sample(name, &labels(snapshot), value);
        }
    }
}

fn states(page: &mut Page, snapshot: &Snapshot, zeros: bool) {
    let [id, name, provider] = labels(snapshot);
    let is_it = |state: ConnectionState| word(state) == word(snapshot.state);
    for state in STATES.into_iter().filter(|state| zeros || is_it(*state)) {
        page.sample(STATE, &[id, name, provider, ("state", word(state))], f64::from(u8::from(is_it(state))));
    }
}

fn labels(snapshot: &Snapshot) -> [(&'static str, &str); 3] {
    [("connection", snapshot.id.as_str()), ("name", &snapshot.name), ("provider", snapshot.provider.as_str())]
}

const fn word(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Disabled => "disabled",
        ConnectionState::Terminal(terminal) => terminal.as_str(),
        ConnectionState::Breaker(BreakerState::Closed) | ConnectionState::Ready => "ready",
        ConnectionState::Breaker(state) => state.as_str(),
        ConnectionState::CoolingDown => "cooling_down",
    }
}
