//! One world: its events in the order of a clock that only they move.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::audit::{Extras, Verdict, holds};
use super::fleet::{Member, Shelf};
use super::provider::{Mood, Provider, trouble};
use super::requests::Request;
use super::summary::Summary;
use super::{Broken, Sabotage, scenario};
use crate::clock::{Clock, ManualClock, Moment};
use crate::connection::report::{Report, take_lost};
use crate::connection::waiting::Turned;
use crate::ports::{Nowhere, Ports};
use crate::resilience::gate::BreakerState;
use crate::resilience::health::ResetScope;
use crate::resilience::outcome::Outcome;
use crate::resilience::retry_budget::RetryBudget;
use crate::resilience::settings::HealthSettings;
use crate::router::{PublishedPlan, Route, Router};

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A client asks.
    Arrive(usize),
    /// A provider's answer to this attempt ends.
    Answer(usize, u32),
    /// The time of this attempt is up.
    GiveUp(usize, u32),
    /// The client hangs up.
    Leave(usize),
    /// An attempt is slow: another one beside it.
    Hedge(usize, u32),
    /// The pause before the same place is asked again is over.
    Again(usize, Box<Route>),
    /// A pause for a cooldown is over.
    Resume(usize),
    /// The longest time in a queue is over.
    Overdue(usize, u32),
    /// A report reaches its actor.
    Deliver(usize, Box<Report>),
    /// A turn of the queue, asked for or by its timer.
    Turn(usize),
    Timer(usize),
    /// A provider changes.
    Change(usize, Mood),
    /// An operator, or bad luck.
    Meddle,
}

/// The world.
pub(super) struct World {
    pub(super) told: bool,
    pub(super) sabotage: Option<Sabotage>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) rng: SmallRng,
    events: BinaryHeap<Reverse<(Moment, u64)>>,
    happening: BTreeMap<u64, Event>,
    next: u64,
    pub(super) members: Vec<Member>,
    pub(super) providers: Vec<Provider>,
    pub(super) extras: Vec<Extras>,
    pub(super) keys: Vec<RetryBudget>,
    pub(super) router: Router,
    pub(super) plan: PublishedPlan,
    pub(super) ports: Ports,
    pub(super) shelf: Arc<Shelf>,
    /// Whether a request is made again that a provider may have accepted.
    pub(super) may_cost_twice: bool,
    /// Runs of attempts so far: each has a number of its own.
    pub(super) runs: usize,
    pub(super) health: HealthSettings,
    pub(super) requests: Vec<Request>,
    pub(super) summary: Summary,
    /// Attempts whose report is to be expected, and reports that came.
    pub(super) settled: u64,
    reported: u64,
    /// Connections whose waiters may have been answered.
    pub(super) stirred: Vec<usize>,
    /// Answers of queues that nobody acted on yet: request, connection, answer.
    pub(super) turned: VecDeque<(usize, usize, Turned)>,
    pub(super) faults_end: Moment,
}

const START: Moment = Moment::from_millis(100_000);

impl World {
    pub fn new(seed: u64, sabotage: Option<Sabotage>, told: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let clock = Arc::new(ManualClock::at(START));
        let (nowhere, shelf) = (Arc::new(Nowhere), Arc::new(Shelf::default()));
        let ports = Ports { clock: clock.clone(), store: shelf.clone(), observer: nowhere.clone(), minter: nowhere };
        let health = scenario::health(&mut rng);
        let provider = |rng: &mut SmallRng| Provider {
            mood: Mood::Up,
            latency: Duration::from_millis(rng.random_range(20..1_500)),
            in_flight: 0,
            bucket: scenario::bucket(rng),
        };
        let providers: Vec<_> = (0..rng.random_range(1..5)).map(|_| provider(&mut rng)).collect();
        let mut members = Vec::new();
        for number in 0..providers.len() {
            let budget = Arc::new(RetryBudget::default());
            for n in 0..rng.random_range(1..4) {
                let config = scenario::connection(number, n, health, &mut rng);
                let budget = Arc::clone(&budget);
                members.push(Member::begin(config, None, number, budget, ports.clone(), rng.random()));
            }
        }
        let handles: Vec<_> = members.iter().map(|member| Arc::clone(&member.handle)).collect();
        let plan: PublishedPlan = Arc::new(ArcSwap::from_pointee(scenario::plan(&handles, 1, &mut rng).ready()));
        let router = Router::seeded(Arc::clone(&plan), clock.clone(), rng.random());
        let extras = providers.iter().map(|_| Extras::default()).collect();
        let keys = (0..scenario::KEYS).map(|_| RetryBudget::default()).collect();
        let may_cost_twice = rng.random_bool(0.5);
        let mut world = Self {
            told,
            sabotage,
            clock,
            rng,
            events: BinaryHeap::new(),
            happening: BTreeMap::new(),
            next: 0,
            members,
            providers,
            extras,
            keys,
            router,
            plan,
            ports,
            shelf,
            may_cost_twice,
            runs: 0,
            health,
            requests: Vec::new(),
            summary: Summary::default(),
            settled: 0,
            reported: 0,
            stirred: Vec::new(),
            turned: VecDeque::new(),
            faults_end: START,
        };
        world.populate();
        world
    }

    /// Draw requests, troubles and meddling.
    fn populate(&mut self) {
        let lasts = Duration::from_secs(self.rng.random_range(5..90));
        self.faults_end = START.after(lasts);
        // Small worlds are many, large ones are some: races need few clients, queues and budgets many.
        let clients = if self.rng.random_bool(0.1) { 1_000 } else { self.rng.random_range(20..200) };
        for number in 0..clients {
            let wish = scenario::wish(START, lasts, self.providers.len(), &mut self.rng);
            self.at(wish.at, Event::Arrive(number));
            self.requests.push(Request::new(wish));
        }
        for _ in 0..self.rng.random_range(1..10) {
            let (provider, at) = (self.rng.random_range(0..self.providers.len()), self.some_time(lasts));
            let (begins, lasts) = (trouble(&mut self.rng), Duration::from_millis(self.rng.random_range(200..20_000)));
            self.at(at, Event::Change(provider, begins));
            self.at(at.after(lasts).min(self.faults_end), Event::Change(provider, Mood::Up));
        }
        for _ in 0..self.rng.random_range(0..8) {
            let at = self.some_time(lasts);
            self.at(at, Event::Meddle);
        }
        for provider in 0..self.providers.len() {
            self.at(self.faults_end, Event::Change(provider, Mood::Up));
        }
    }

    fn some_time(&mut self, within: Duration) -> Moment {
        START.after(within.mul_f64(self.rng.random_range(0.0..1.0)))
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn at(&mut self, at: Moment, event: Event) {
        self.events.push(Reverse((at, self.next)));
        self.happening.insert(self.next, event);
        self.next += 1;
    }

    /// Forget what will not happen any more.
    pub(super) fn only_keep(&mut self, keeps: impl Fn(&Event) -> bool) {
        self.happening.retain(|_, event| keeps(event));
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now().after(delay), event);
    }

    /// To the end of all requests, and then until everybody is well again.
    pub fn run(mut self) -> Result<Summary, Broken> {
        while let Some(Reverse((at, number))) = self.events.pop() {
            let Some(event) = self.happening.remove(&number) else { continue };
            self.clock.advance(at.since(self.now()));
            self.tell(|| format!("{event:?}"));
            self.summary.events += 1;
            self.happens(event)?;
            self.aftermath()?;
        }
        for (number, request) in self.requests.iter().enumerate() {
            holds(request.ended == 1, || format!("request {number} ended {} times", request.ended))?;
        }
        for member in &self.members {
            let (handle, running) = (&member.handle, member.books.running());
            holds(running == 0 && handle.in_flight() == 0, || format!("{running} calls of {handle:?} never ended"))?;
            holds(handle.queued() == 0, || format!("{} wait for {handle:?} for ever", handle.queued()))?;
        }
        self.everybody_recovers()?;
        Ok(self.summary)
    }

    /// For whoever replays this world.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>8} {}", self.now().since(START).as_millis(), what());
        }
    }

    fn happens(&mut self, event: Event) -> Verdict {
        match event {
            Event::Arrive(request) => self.arrive(request),
            Event::Answer(request, attempt) => self.answer(request, attempt),
            Event::GiveUp(request, attempt) => self.give_up(request, attempt),
            Event::Leave(request) => self.leave(request),
            Event::Hedge(request, step) => self.hedge(request, step),
            Event::Again(request, question) => self.once_more(request, *question),
            Event::Resume(request) => self.resume(request),
            Event::Overdue(request, attempt) => self.overdue(request, attempt),
            Event::Deliver(member, report) => self.deliver(member, &report),
            Event::Turn(member) => {
                self.members[member].turn_is_coming = false;
                self.turn(member)
            }
            Event::Timer(member) => {
                self.members[member].timer = None;
                self.turn(member)
            }
            Event::Change(provider, mood) => {
                self.providers[provider].mood = mood;
                Ok(())
            }
            Event::Meddle => self.meddle(),
        }
    }

    fn turn(&mut self, member: usize) -> Verdict {
        self.members[member].actor.turn();
        self.stirred.push(member);
        Ok(())
    }

    fn deliver(&mut self, number: usize, report: &Report) -> Verdict {
        if self.sabotage == Some(Sabotage::LoseReports) && self.now() >= self.faults_end {
            return Ok(());
        }
        let now = self.now();
        let member = &mut self.members[number];
        let was = member.handle.gate().view().state;
        member.actor.outcomes(std::slice::from_ref(report));
        member.books.heard(&member.handle, &report.heard, now);
        self.summary.empty_buckets += u64::from(member.books.heard_limits(report, now));
        let is = member.handle.gate().view().state;
        self.summary.opened += u64::from(was != BreakerState::Open && is == BreakerState::Open);
        self.summary.rests += u64::from(member.handle.remembered().cooldown.is_some_and(|one| one.until > now));
        if self.sabotage == Some(Sabotage::ForgetCooldowns) {
            member.actor.set_cooldown(None);
        }
        if self.sabotage == Some(Sabotage::OpenTheGate) && is == BreakerState::Open {
            member.handle.gate().force(BreakerState::Closed, Moment::START);
        }
        if self.sabotage == Some(Sabotage::ForgetEmptyBuckets) {
            member.actor.reset(&ResetScope::Limiters);
        }
        member.books.may_publish(&member.handle);
        self.stirred.push(number);
        Ok(())
    }

    /// What every event leaves behind: answers in queues, reports, turns; then the books are compared.
    fn aftermath(&mut self) -> Verdict {
        while let Some(member) = self.stirred.pop() {
            self.serve_waiters(member)?;
        }
        for report in take_lost() {
            self.reported += 1;
            let number = self.members.iter().position(|member| Arc::ptr_eq(&member.handle, &report.handle));
            let Some(number) = number else { continue };
            // Successes wait for a batch; all others leave at once, to another thread.
            let most = if report.heard.outcome == Outcome::Success { 20 } else { 3 };
            let delay = Duration::from_millis(self.rng.random_range(0..=most));
            self.after(delay, Event::Deliver(number, Box::new(report)));
        }
        let (reported, settled) = (self.reported, self.settled);
        holds(reported == settled, || format!("{reported} reports of {settled} ended attempts"))?;
        for number in 0..self.members.len() {
            self.set_timers(number);
            let member = &mut self.members[number];
            member.books.check(&member.handle)?;
        }
        Ok(())
    }

    fn set_timers(&mut self, number: usize) {
        let now = self.now();
        let member = &mut self.members[number];
        let next = member.actor.next_turn().map(|at| at.max(now.after(Duration::from_millis(1))));
        let asks = member.actor.turn_is_asked() && !member.turn_is_coming;
        if let Some(at) = next.filter(|at| member.timer.is_none_or(|timer| *at < timer)) {
            member.timer = Some(at);
            self.at(at, Event::Timer(number));
        }
        if asks {
            self.members[number].turn_is_coming = true;
            let delay = Duration::from_millis(self.rng.random_range(0..3));
            self.after(delay, Event::Turn(number));
        }
    }
}
