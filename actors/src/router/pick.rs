//! Choosing a connection for a leg, lazily: as few as possible are looked at, and each at most once.
//!
//! Groups of equal priority come one after the other. In a group a session first asks for its own connection; then the
//! provider's account strategy says in which order the others are looked at, and how many of those that would serve
//! are compared.

use std::sync::Arc;

use smallvec::SmallVec;

use super::affinity::Order;
use super::itinerary::{Itinerary, Leg};
use super::members::{Members, comparison, score, usable, within};
use super::plan::AccountStrategy;
use super::plan::pool::{Group, Member, Pool};
use super::scan::Scan;
use super::skip::{Skip, SkipReason, Skips};
use super::strategy::OVERLOADED;
use super::{Attempted, Only, Tried, hash};
use crate::clock::{Clock, Moment};
use crate::connection::lease::Permit;
use crate::connection::refusal::Refused;
use crate::connection::traffic::Ask;

/// Others that are asked whether they are much less loaded than a session's own connection.
const ALTERNATIVES: usize = 2;

/// A connection that was chosen.
pub(super) struct Picked {
    pub permit: Permit,
    pub place: usize,
    pub why: &'static str,
}

/// A request on its way through the legs.
pub(super) struct Walk<'a> {
    pub itinerary: &'a Itinerary,
    pub tried: &'a Tried,
    pub only: &'a Only,
    pub clock: &'a Arc<dyn Clock>,
    pub now: Moment,
    pub skips: &'a mut Skips,
}

impl Walk<'_> {
    /// A connection of this leg, if one takes the request.
    pub fn leg(&mut self, index: usize, leg: &Leg) -> Option<Picked> {
        let usable = usable(leg, self.only);
        if usable.as_ref().is_some_and(|places| places.is_empty()) {
            self.nobody(leg);
            return None;
        }
        let favours = self.itinerary.screen.favours_some();
        let turn = Turn::new(self.itinerary.seed, index, self.tried.len());
        for group in &leg.target.pool.groups {
            let members = match &usable {
                None => Members::All(group.range()),
                Some(places) => Members::Some(within(places, group.range())),
            };
            let mut search = Search { walk: self, leg, group, turn, seen: SmallVec::new() };
            let picked = if favours { search.favoured(&members) } else { search.group(&members) };
            if let Some(picked) = picked {
                return Some(picked);
            }
        }
        None
    }

    /// The same place once more, if it still takes the request.
    pub fn again(&mut self, at: Attempted) -> Option<(usize, Picked)> {
        let leg = self.itinerary.legs.get(at.leg)?;
        let member = leg.target.pool.member(at.place).filter(|member| self.only.allows(member.handle.id()))?;
        let ask = Ask { model: &leg.target.model, tokens: u64::from(self.itinerary.features.tokens()) };
        match member.handle.acquire(ask, self.clock) {
            Ok(permit) => Some((at.leg, Picked { permit, place: at.place, why: "again" })),
            Err(refused) => {
                self.skips.refused(refused, |reason, retry_at| skip(leg, member, reason, retry_at));
                None
            }
        }
    }

    fn nobody(&mut self, leg: &Leg) {
        let named = || Skip {
            connection: None,
            provider: leg.target.provider().clone(),
            model: leg.target.model.clone(),
            reason: SkipReason::NotAllowed,
            retry_at: None,
        };
        self.skips.add(SkipReason::NotAllowed, None, named);
    }
}

/// What chance and turns are to one look at one leg.
#[derive(Clone, Copy)]
struct Turn {
    seed: u64,
    /// A leg that is come back to after a failure uses up no second turn.
    is_first: bool,
}

impl Turn {
    const fn new(seed: u64, leg: usize, attempt: usize) -> Self {
        Self { seed: hash::pair(hash::pair(seed, leg as u64), attempt as u64), is_first: attempt == 0 }
    }
}

struct Search<'a, 'w> {
    walk: &'a mut Walk<'w>,
    leg: &'a Leg,
    group: &'a Group,
    turn: Turn,
    /// Places that were looked at out of order.
    seen: SmallVec<[usize; 16]>,
}

impl<'a> Search<'a, '_> {
    /// Those that a policy prefers, before the others of their group.
    fn favoured(&mut self, members: &Members<'_>) -> Option<Picked> {
        let (screen, target) = (&self.walk.itinerary.screen, &self.leg.target);
        let favoured = |place: &usize| target.pool.member(*place).is_some_and(|one| screen.favours(target, one));
        let (first, others): (Vec<usize>, Vec<usize>) = members.places().partition(favoured);
        self.group(&Members::Some(&first)).or_else(|| self.group(&Members::Some(&others)))
    }

    fn group(&mut self, members: &Members<'_>) -> Option<Picked> {
        self.seen.clear();
        let accounts = self.pool().accounts;
        let session = self.walk.itinerary.features.affinity.filter(|_| accounts.allows_affinity());
        if let Some(session) = session.filter(|_| members.len() > 1)
            && let Some(picked) = self.own(session, members)
        {
            return Some(picked);
        }
        if self.seen.len() == members.len() {
            return None;
        }
        let scan = self.scan(accounts, members.len());
        if accounts == AccountStrategy::Lkgp
            && let Some(picked) = self.last_good(members)
        {
            return Some(picked);
        }
        self.compared(scan, members, accounts)
    }

    /// A session's own connection; when it refuses, the next in the session's order.
    fn own(&mut self, session: u64, members: &Members<'_>) -> Option<Picked> {
        for (rank, place) in Order::new(session, self.pool(), self.group, members).enumerate() {
            let looked = self.look(place);
            self.seen.push(place);
            let Some(member) = looked else { continue };
            let better = if rank == 0 { self.less_loaded(member, members) } else { None };
            let (first, why) = match better {
                Some((other, why)) => (other, why),
                None => (place, if rank == 0 { "affinity" } else { "affinity_next" }),
            };
            if let Some(picked) = self.take(first, why) {
                return Some(picked);
            }
            if first != place
                && let Some(picked) = self.take(place, "affinity")
            {
                return Some(picked);
            }
        }
        None
    }

    /// Another connection that is so much less loaded that losing the prompt cache is the smaller evil, or that has
    /// quota left where a session has used up its own. One that has never answered counts as quick as the session's
    /// own: being unknown is no merit here.
    fn less_loaded(&self, own: &Member, members: &Members<'_>) -> Option<(usize, &'static str)> {
        let floor = self.walk.itinerary.floor;
        let low = |member: &Member| floor.zip(member.handle.headroom()).is_some_and(|(floor, left)| left <= floor);
        let (in_flight, leaves) = (own.handle.in_flight(), low(own));
        if in_flight == 0 && !leaves {
            return None;
        }
        let cost = own.handle.latency().cost(in_flight, self.walk.now);
        for place in Scan::shuffled(self.turn.seed, members.len()).take(ALTERNATIVES + 1) {
            let place = members.at(place).filter(|place| !self.seen.contains(place));
            let other = place.and_then(|place| Some((place, self.pool().member(place)?)));
            let Some((place, other)) = other.filter(|(place, other)| self.would_serve(*place, other)) else { continue };
            let busy = other.handle.in_flight();
            let known = other.handle.latency().cost(busy, self.walk.now);
            let assumed = own.handle.latency().cost(busy, self.walk.now);
            let elsewhere = if is_known(other) { known } else { known.max(assumed) };
            if leaves && !low(other) {
                return Some((place, "handoff"));
            }
            if cost > elsewhere * OVERLOADED {
                return Some((place, "affinity_overloaded"));
            }
        }
        None
    }

    fn last_good(&mut self, members: &Members<'_>) -> Option<Picked> {
        let place = self.pool().place_of(self.pool().state.last_good())?;
        let is_here = match members {
            Members::All(range) => range.contains(&place),
            Members::Some(places) => places.contains(&place),
        };
        if !is_here || self.seen.contains(&place) {
            return None;
        }
        let looked = self.look(place).is_some();
        self.seen.push(place);
        looked.then(|| self.take(place, "answered_last")).flatten()
    }

    /// Look at connections in the scan's order; of the first few that would serve, the best takes it.
    fn compared(&mut self, scan: Scan, members: &Members<'_>, accounts: AccountStrategy) -> Option<Picked> {
        let (wanted, why) = comparison(accounts);
        let mut found: SmallVec<[(f64, usize); 8]> = SmallVec::new();
        let mut looks_left = usize::MAX;
        for index in scan {
            let place = members.at(index).filter(|place| !self.seen.contains(place));
            let member = place.and_then(|place| Some((place, self.look(place)?)));
            if let Some((place, member)) = member {
                found.push((score(accounts, member, self.walk.now), place));
                // Company for the first is looked for among a few more, not among all.
                looks_left = looks_left.min(wanted * 2);
            }
            looks_left = looks_left.saturating_sub(1);
            if found.len() >= wanted || looks_left == 0 {
                if let Some(picked) = self.best(&mut found, why) {
                    return Some(picked);
                }
                looks_left = usize::MAX;
            }
        }
        self.best(&mut found, why)
    }

    fn best(&mut self, found: &mut SmallVec<[(f64, usize); 8]>, why: &'static str) -> Option<Picked> {
        found.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        found.drain(..).find_map(|(_, place)| self.take(place, why))
    }

    fn scan(&self, accounts: AccountStrategy, n: usize) -> Scan {
        let state = &self.pool().state;
        let turn = || if self.turn.is_first { state.take_turn() } else { state.turn() };
        match accounts {
            AccountStrategy::FillFirst => Scan::from(0, n),
            AccountStrategy::RoundRobin => Scan::from(turn() / u64::from(self.pool().sticky_limit), n),
            AccountStrategy::StrictRandom => Scan::deck(turn(), n),
            AccountStrategy::P2c
            | AccountStrategy::Random
            | AccountStrategy::LeastUsed
            | AccountStrategy::Headroom
            | AccountStrategy::Lkgp => Scan::shuffled(self.turn.seed, n),
        }
    }

    /// The connection at a place, if it was not tried and would serve; else why not is noted.
    fn look(&mut self, place: usize) -> Option<&'a Member> {
        let leg = self.leg;
        let member = leg.target.pool.member(place)?;
        if self.walk.was_tried(leg, place) {
            return None;
        }
        if let Err(misfit) = self.walk.itinerary.screen.admits(&leg.target, member) {
            let reason = SkipReason::from(&misfit);
            self.walk.skips.add(reason, None, || skip(leg, member, reason, None));
            return None;
        }
        match member.handle.look(leg.target.model.as_str(), self.walk.now) {
            Ok(()) => Some(member),
            Err(refused) => {
                self.note(member, refused);
                None
            }
        }
    }

    /// The same without a note.
    fn would_serve(&self, place: usize, member: &Member) -> bool {
        let target = &self.leg.target;
        !self.walk.was_tried(self.leg, place)
            && self.walk.itinerary.screen.admits(target, member).is_ok()
            && member.handle.look(target.model.as_str(), self.walk.now).is_ok()
    }

    fn take(&mut self, place: usize, why: &'static str) -> Option<Picked> {
        let leg = self.leg;
        let member = leg.target.pool.member(place)?;
        let ask = Ask { model: &leg.target.model, tokens: u64::from(self.walk.itinerary.features.tokens()) };
        match member.handle.acquire(ask, self.walk.clock) {
            Ok(permit) => Some(Picked { permit, place, why }),
            Err(refused) => {
                self.note(member, refused);
                None
            }
        }
    }

    fn note(&mut self, member: &Member, refused: Refused) {
        let leg = self.leg;
        self.walk.skips.refused(refused, |reason, retry_at| skip(leg, member, reason, retry_at));
    }

    const fn leg(&self) -> &'a Leg {
        self.leg
    }

    fn pool(&self) -> &'a Pool {
        &self.leg().target.pool
    }
}

impl Walk<'_> {
    /// Two legs may lead to the same connection and model.
    fn was_tried(&self, leg: &Leg, place: usize) -> bool {
        self.tried.iter().any(|tried| {
            tried.place == place
                && self.itinerary.legs.get(tried.leg).is_some_and(|other| {
                    Arc::ptr_eq(&other.target.pool, &leg.target.pool) && other.target.model == leg.target.model
                })
        })
    }
}

fn skip(leg: &Leg, member: &Member, reason: SkipReason, retry_at: Option<Moment>) -> Skip {
    Skip {
        connection: Some(Arc::clone(&member.handle)),
        provider: leg.target.provider().clone(),
        model: leg.target.model.clone(),
        reason,
        retry_at,
    }
}

fn is_known(member: &Member) -> bool {
    member.handle.totals().succeeded.load(std::sync::atomic::Ordering::Relaxed) > 0
}
