//! The valve at the door of an event loop that is made up: tasks run one after the other, timers fire between rounds, and
//! no real time passes.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const MOST: Duration = Duration::from_millis(3);
const NAP: Duration = Duration::from_millis(5);
const REFUSAL: Duration = Duration::from_micros(30);
/// A call is worked on in so many rounds.
const SLICES: u32 = 8;
const SLICE: Duration = Duration::from_micros(250);
/// Calls a second that the loop can carry.
const CAPACITY: f64 = 500.0;
/// In so many seconds what was let in before the load was noticed is done, also if it cost nothing for the first of them.
const SETTLE: f64 = 10.0;

/// A key that asks so many times a second, at random moments.
struct Client {
    key: usize,
    rate: f64,
    random: SmallRng,
    next: Instant,
    taken: Vec<Instant>,
    refused: u32,
}

impl Client {
    fn new(key: usize, start: Instant, rate: f64) -> Self {
        let random = SmallRng::seed_from_u64(key as u64);
        Self { key, rate, random, next: start, taken: Vec::new(), refused: 0 }
    }

    /// As many do who do not know of each other: the pauses are distributed exponentially.
    fn pause(&mut self) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.random.random::<f64>()).ln() / self.rate)
    }
}

/// A call that is worked on.
struct Call {
    came: Instant,
    left: u32,
    /// When the provider answers.
    answer: Instant,
}

impl Call {
    /// Its first round is for the request, all others are for the answer.
    fn is_ready(&self, now: Instant) -> bool {
        self.left == SLICES || self.answer <= now
    }
}

struct Loop {
    valve: Valve,
    now: Instant,
    busy: Duration,
    nap: Instant,
    calls: Vec<Call>,
    /// What was taken, and how long it took.
    done: Vec<(Instant, Duration)>,
    slowest_refusal: Duration,
    /// What others take from the thread while it sleeps.
    stolen: Duration,
    /// How long providers think.
    thinks: Duration,
}

impl Loop {
    fn new() -> Self {
        let now = Instant::now();
        let (calls, done) = (Vec::new(), Vec::new());
        let [busy, slowest_refusal, stolen, thinks] = [Duration::ZERO; 4];
        Self { valve: Valve::default(), now, busy, nap: now + NAP, calls, done, slowest_refusal, stolen, thinks }
    }

    fn work(&mut self, time: Duration) {
        self.now += time;
        self.busy += time;
    }

    fn run(&mut self, clients: &mut [Client], seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.round(clients);
            self.doze(clients);
        }
    }

    /// Everything that is ready at its start.
    fn round(&mut self, clients: &mut [Client]) {
        let start = self.now;
        let fires = self.nap <= start;
        for client in clients.iter_mut() {
            while client.next <= start {
                self.ask(client);
                let pause = client.pause();
                client.next += pause;
            }
        }
        let mut calls = std::mem::take(&mut self.calls);
        for call in calls.iter_mut().filter(|call| call.is_ready(start)) {
            self.work(SLICE);
            call.left -= 1;
        }
        let now = self.now;
        for call in calls.extract_if(.., |call| call.left == 0) {
            self.valve.end();
            self.done.push((call.came, now - call.came));
        }
        self.calls = calls;
        if fires {
            self.valve.see(Sample { now, late: now - self.nap, busy: self.busy }, MOST);
            self.nap = now + NAP;
        }
    }

    fn ask(&mut self, client: &mut Client) {
        if self.valve.takes(client.key, self.now) {
            client.taken.push(client.next);
            self.calls.push(Call { came: client.next, left: SLICES, answer: self.now + self.thinks });
        } else {
            self.work(REFUSAL);
            client.refused += 1;
            self.slowest_refusal = self.slowest_refusal.max(self.now - client.next);
        }
    }

    /// Sleep until something happens.
    fn doze(&mut self, clients: &[Client]) {
        let answers = self.calls.iter().map(|call| if call.is_ready(self.now) { self.now } else { call.answer });
        let next = clients.iter().map(|client| client.next).chain(answers).chain([self.nap]).min();
        if next > Some(self.now) {
            self.now = next.unwrap_or(self.now) + self.stolen;
        }
    }

    /// The slowest but one in a hundred of those that came from then on.
    fn p99(&self, from: Instant) -> Duration {
        let mut times: Vec<_> = self.done.iter().filter(|(came, _)| *came >= from).map(|(_, took)| *took).collect();
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }
}

/// What one client that asks at this multiple of the capacity sees for five seconds, after [`SETTLE`].
fn offered(times: f64, thinks: Duration) -> (Loop, Client, Instant) {
    let mut site = Loop { thinks, ..Loop::new() };
    let mut clients = [Client::new(1, site.now, CAPACITY * times)];
    site.run(&mut clients, SETTLE);
    (site.slowest_refusal, clients[0].refused) = (Duration::ZERO, 0);
    let from = site.now;
    site.run(&mut clients, 5.0);
    let [client] = clients;
    (site, client, from)
}

fn per_second(client: &Client, from: Instant) -> f64 {
    client.taken.iter().filter(|came| **came >= from).count() as f64 / 5.0
}

#[test]
fn nothing_is_refused_while_the_loop_can_carry_it() {
    for (times, thinks) in [(0.1, 0), (0.5, 0), (0.8, 0), (0.8, 300)] {
        let (site, client, _) = offered(times, Duration::from_millis(thinks));

        assert_eq!((client.refused, site.valve.limits()), (0, false), "at {times} times the capacity");
    }
}

#[test]
fn beyond_the_capacity_most_of_it_is_used_and_whoever_is_let_in_is_served_in_time() {
    for thinks in [0, 300, 1_000].map(Duration::from_millis) {
        let (calm, _, from) = offered(0.3, thinks);
        let calm = calm.p99(from);
        for times in [2.0, 5.0, 10.0] {
            let (site, client, from) = offered(times, thinks);

            let (carried, p99) = (per_second(&client, from) / CAPACITY, site.p99(from));

            assert!(carried > 0.55, "{thinks:?}, {times} times: {carried} of the capacity");
            assert!(p99 <= calm * 3, "{thinks:?}, {times} times: {p99:?}, calm {calm:?}");
            assert!(site.slowest_refusal < Duration::from_millis(50), "{:?}", site.slowest_refusal);
        }
    }
}

#[test]
fn a_flood_is_felt_for_a_moment_only() {
    let mut site = Loop::new();
    let mut clients = [Client::new(1, site.now, CAPACITY * 0.3)];
    site.run(&mut clients, 2.0);
    clients[0].rate = CAPACITY * 5.0;
    let flood = site.now;

    site.run(&mut clients, 2.0);

    let late = site.done.iter().filter(|(came, took)| *came > flood && *took > Duration::from_millis(100));
    let last = late.map(|(came, _)| *came - flood).max().unwrap_or_default();
    assert!(last < Duration::from_secs(2), "{last:?}");
}

#[test]
fn a_burst_that_passes_is_let_in_whole() {
    let mut site = Loop::new();
    let mut clients = [Client::new(1, site.now, CAPACITY * 0.2)];
    site.run(&mut clients, 1.0);
    let mut burst = Client::new(2, site.now, 1.0);

    (0..128).for_each(|_| site.ask(&mut burst));
    site.run(&mut clients, 1.0);

    assert_eq!((burst.taken.len(), clients[0].refused), (128, 0));
}

#[test]
fn a_noisy_key_takes_nothing_from_a_quiet_one() {
    let mut site = Loop::new();
    let start = site.now;
    let mut clients = [(1, 2_500.0), (2, 20.0), (3, 60.0)].map(|(key, rate)| Client::new(key, start, rate));
    site.run(&mut clients, 2.0);
    clients.iter_mut().for_each(|client| client.refused = 0);

    site.run(&mut clients, 5.0);

    let [noisy, quiet, other] = clients.map(|client| (client.refused, client.taken.len()));
    assert!(noisy.0 > 8_000 && noisy.1 > 1_500, "{noisy:?}");
    assert!(quiet.0 <= 1 && other.0 <= 3, "of 100 and 300: {quiet:?} {other:?}");
}

#[test]
fn many_keys_together_get_no_more_than_one_alone() {
    let mut site = Loop::new();
    let start = site.now;
    let mut clients: Vec<_> = (0..200).map(|key| Client::new(key, start, 10.0)).collect();
    site.run(&mut clients, 3.0);
    let from = site.now;

    site.run(&mut clients, 5.0);

    let carried: f64 = clients.iter().map(|client| per_second(client, from)).sum();
    assert!((300.0..=500.0).contains(&carried), "{carried} of 500");
    assert!(site.p99(from) < Duration::from_millis(100), "{:?}", site.p99(from));
}

#[test]
fn when_the_flood_ends_everything_is_taken_again_within_two_seconds() {
    let mut site = Loop::new();
    let mut clients = [Client::new(1, site.now, CAPACITY * 10.0)];
    site.run(&mut clients, 3.0);
    clients[0].rate = CAPACITY * 0.4;
    site.run(&mut clients, 2.0);
    clients[0].refused = 0;

    site.run(&mut clients, 2.0);

    assert_eq!((clients[0].refused, site.valve.limits()), (0, false));
}

#[test]
fn a_loop_that_others_starve_takes_everything() {
    let mut site = Loop::new();
    site.stolen = Duration::from_millis(150);
    let mut clients = [Client::new(1, site.now, CAPACITY * 0.1)];

    site.run(&mut clients, 5.0);

    assert_eq!((clients[0].refused, site.valve.limits()), (0, false));
}

#[test]
fn some_calls_are_taken_however_late_it_is() {
    let (mut valve, now) = (Valve::default(), Instant::now());
    let second = Duration::from_secs(1);
    for window in 0..20 {
        let (now, busy) = (now + second * window, second * window);
        valve.see(Sample { now, late: second, busy }, MOST);
    }

    let from = now + second * 20;
    let taken = (0..1_000).filter(|ms| valve.takes(0, from + Duration::from_millis(*ms))).count();

    assert!((5..=130).contains(&taken), "{taken}");
}
