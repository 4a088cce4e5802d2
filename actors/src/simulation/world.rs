//! One world: its events in the order of a clock that only they move.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::audit::{Extras, Verdict, holds};
use super::fleet::Member;
use super::provider::{Mood, Provider, trouble};
use super::requests::Request;
use super::{Broken, Sabotage, scenario};
use crate::clock::{Clock, ManualClock, Moment};
use crate::connection::config::ConnectionConfig;
use crate::connection::handle::{ConnectionHandle, Refused};
use crate::connection::report::{Report, take_lost};
use crate::connection::waiting::Turned;
use crate::ids::ModelName;
use crate::ports::{Nowhere, Ports};
use crate::resilience::gate::BreakerState;
use crate::resilience::health::{Cooldown, ResetScope};
use crate::resilience::outcome::Outcome;
use crate::resilience::retry_budget::RetryBudget;
use crate::resilience::settings::HealthSettings;
use crate::router::plan::RoutingPlan;
use crate::router::{PublishedPlan, Router};

/// What was seen in a world, or in many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Summary {
    pub events: u64,
    pub requests: u64,
    pub answered: u64,
    pub attempts: u64,
    pub probes: u64,
    pub opened: u64,
    pub rests: u64,
    pub waited: u64,
    pub turned_away: u64,
    pub out_of_budget: u64,
    pub terminal_probes: u64,
    pub hang_ups: u64,
    pub resets: u64,
    pub crashes: u64,
    pub plans: u64,
}

impl Summary {
    pub fn add(&mut self, other: &Self) {
        let pairs = self.each().into_iter().zip(other.each()).map(|(a, b)| a + b);
        let mut sums = pairs.collect::<Vec<_>>().into_iter();
        for field in self.each_mut() {
            *field = sums.next().unwrap_or_default();
        }
    }

    /// Whether everything that can happen has happened.
    pub fn is_lively(&self) -> bool {
        self.each().iter().all(|count| *count > 0)
    }

    fn each(&self) -> [u64; 15] {
        let mut copy = *self;
        copy.each_mut().map(|field| *field)
    }

    fn each_mut(&mut self) -> [&mut u64; 15] {
        [
            &mut self.events,
            &mut self.requests,
            &mut self.answered,
            &mut self.attempts,
            &mut self.probes,
            &mut self.opened,
            &mut self.rests,
            &mut self.waited,
            &mut self.turned_away,
            &mut self.out_of_budget,
            &mut self.terminal_probes,
            &mut self.hang_ups,
            &mut self.resets,
            &mut self.crashes,
            &mut self.plans,
        ]
    }
}

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
    plan: PublishedPlan,
    health: HealthSettings,
    pub(super) requests: Vec<Request>,
    pub(super) summary: Summary,
    /// Attempts whose report is to be expected, and reports that came.
    pub(super) settled: u64,
    reported: u64,
    /// Connections whose waiters may have been answered.
    pub(super) stirred: Vec<usize>,
    /// Answers of queues that nobody acted on yet: request, connection, answer.
    pub(super) turned: VecDeque<(usize, usize, Turned)>,
    faults_end: Moment,
}

const START: Moment = Moment::from_millis(100_000);

impl World {
    pub fn new(seed: u64, sabotage: Option<Sabotage>, told: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let clock = Arc::new(ManualClock::at(START));
        let nowhere = Arc::new(Nowhere);
        let ports = Ports { clock: clock.clone(), store: nowhere.clone(), observer: nowhere.clone(), minter: nowhere };
        let health = scenario::health(&mut rng);
        let provider = |rng: &mut SmallRng| Provider {
            mood: Mood::Up,
            latency: Duration::from_millis(rng.random_range(20..1_500)),
            in_flight: 0,
        };
        let providers: Vec<_> = (0..rng.random_range(1..5)).map(|_| provider(&mut rng)).collect();
        let mut members = Vec::new();
        for number in 0..providers.len() {
            let budget = Arc::new(RetryBudget::default());
            for n in 0..rng.random_range(1..4) {
                let config = scenario::connection(number, n, health, &mut rng);
                members.push(Member::new(config, number, Arc::clone(&budget), ports.clone(), rng.random()));
            }
        }
        let handles: Vec<_> = members.iter().map(|member| Arc::clone(&member.handle)).collect();
        let plan: PublishedPlan = Arc::new(ArcSwap::from_pointee(scenario::plan(&handles, 1, &mut rng).ready()));
        let router = Router::seeded(Arc::clone(&plan), clock.clone(), rng.random());
        let extras = providers.iter().map(|_| Extras::default()).collect();
        let keys = (0..scenario::KEYS).map(|_| RetryBudget::default()).collect();
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
        let is = member.handle.gate().view().state;
        self.summary.opened += u64::from(was != BreakerState::Open && is == BreakerState::Open);
        self.summary.rests += u64::from(member.handle.remembered().cooldown.is_some_and(|one| one.until > now));
        if self.sabotage == Some(Sabotage::ForgetCooldowns) {
            member.actor.set_cooldown(None);
        }
        if self.sabotage == Some(Sabotage::OpenTheGate) && is == BreakerState::Open {
            member.handle.gate().force(BreakerState::Closed, Moment::START);
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

    /// An operator resets or changes something, or an actor meets a panic.
    fn meddle(&mut self) -> Verdict {
        let number = self.rng.random_range(0..self.members.len());
        let (now, kind) = (self.now(), self.rng.random_range(0..8));
        let member = &mut self.members[number];
        match kind {
            0 | 1 => {
                self.summary.resets += 1;
                let model = self
                    .rng
                    .random_bool(0.5)
                    .then(|| ModelName::from(*scenario::MODELS.choose(&mut self.rng).unwrap()));
                let scopes = [
                    ResetScope::Breakers,
                    ResetScope::Cooldowns,
                    ResetScope::Lockouts(model),
                    ResetScope::Limiters,
                    ResetScope::All,
                ];
                let scope = scopes.choose(&mut self.rng).unwrap();
                member.actor.reset(scope);
                if matches!(scope, ResetScope::Breakers | ResetScope::All) {
                    member.books.breaker_closed();
                }
                if matches!(scope, ResetScope::Cooldowns | ResetScope::All) {
                    member.books.cooldowns_cleared();
                }
                if matches!(scope, ResetScope::Limiters | ResetScope::All) {
                    member.books.limits_changed();
                }
            }
            2 => {
                let until = now.after(Duration::from_millis(self.rng.random_range(0..5_000)));
                member.actor.set_cooldown(Some(Cooldown { until, reason: Outcome::RateLimited }));
                member.books.cooldowns_cleared();
            }
            3 | 4 => {
                let mut config = (*member.handle.config()).clone();
                scenario::bound(&mut config, &mut self.rng);
                config.is_active = self.rng.random_bool(0.8);
                if self.rng.random_bool(0.3) {
                    config.credential_version += 1;
                    member.books.cooldowns_cleared();
                }
                member.actor.configure(config);
                member.books.limits_changed();
            }
            5 | 6 => {
                self.summary.crashes += 1;
                member.actor.crash();
                member.books.queue_lost();
            }
            _ => {
                self.summary.plans += 1;
                self.publish();
            }
        }
        let member = &mut self.members[number];
        member.books.may_publish(&member.handle);
        self.stirred.push(number);
        Ok(())
    }

    fn publish(&mut self) {
        let handles: Vec<_> = self.members.iter().map(|member| Arc::clone(&member.handle)).collect();
        let before = self.plan.load_full();
        let before: &RoutingPlan = &before;
        let mut plan = scenario::plan(&handles, before.generation + 1, &mut self.rng);
        plan.remember(before);
        self.plan.store(Arc::new(plan.ready()));
    }

    /// The faults are over: asked gently, each connection serves each of its models again in the time that was promised.
    fn everybody_recovers(&mut self) -> Verdict {
        for number in 0..self.members.len() {
            self.recovers(number)?;
        }
        Ok(())
    }

    fn recovers(&mut self, number: usize) -> Verdict {
        const SLACK: Duration = Duration::from_secs(25 * 60);
        let began = self.now();
        let handle = Arc::clone(&self.members[number].handle);
        let config = ConnectionConfig { is_active: true, ..(*handle.config()).clone() };
        self.members[number].actor.configure(config);
        let bound = self.promised(number).after(SLACK);
        let mut left: Vec<ModelName> = scenario::MODELS.map(ModelName::from).into();
        loop {
            let met = left.last().cloned().map(|model| self.gently(number, &handle, &model));
            let (was, now) = (handle.remembered(), self.now());
            let wait = match met {
                Some(Ok(())) => {
                    left.pop();
                    None
                }
                Some(Err(refused)) => refused.retry_at.map(|at| at.until(now)),
                None if handle.gate().view().state.flows() && was.terminal.is_none() => return Ok(()),
                // One more probe is wanted.
                None => {
                    left.push(scenario::MODELS[0].into());
                    None
                }
            };
            holds(now < bound, || format!("{handle:?} is not back after {:?}: {met:?}, {was:?}", now.since(began)))?;
            let wait = wait.unwrap_or(Duration::from_millis(100));
            self.clock.advance(wait.clamp(Duration::from_millis(1), Duration::from_secs(600)));
        }
    }

    /// One call that succeeds, with its report.
    fn gently(&mut self, number: usize, handle: &Arc<ConnectionHandle>, model: &ModelName) -> Result<(), Refused> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let mut permit = handle.acquire(model, &clock)?;
        permit.begin();
        permit.settle(Outcome::Success);
        drop(permit);
        for report in take_lost() {
            if self.sabotage != Some(Sabotage::LoseReports) {
                self.members[number].actor.outcomes(&[report]);
            }
        }
        Ok(())
    }

    /// The last moment that something in force now may keep a connection away.
    fn promised(&self, number: usize) -> Moment {
        let handle = &self.members[number].handle;
        let (was, now) = (handle.remembered(), self.now());
        let locks = was.lockouts.iter().map(|(_, lockout)| lockout.until);
        let rest = was.cooldown.map(|cooldown| cooldown.until);
        let all = locks.chain(rest).chain([handle.gate().view().not_before, now]);
        all.max().unwrap_or(now).after(self.health.terminal_probe * 2)
    }
}
