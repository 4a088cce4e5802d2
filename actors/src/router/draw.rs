//! Drawing up an itinerary: filter, order, and for nested combos the same again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rand::{Rng, RngExt};

use super::config::OverBudget;
use super::facts::Tier;
use super::features::RequestFeatures;
use super::filter::{Filter, Misfit, Rule, Screen};
use super::itinerary::{Excluded, Itinerary, Leg, Path};
use super::lately::Meaning;
use super::plan::{Combo, ComboRoute, Link, LinkTo, ReadyPlan, Strategy, Target, in_pool};
use super::resolve::{EXTENDED_WINDOW, Resolution, Resolved};
use super::sample::Looks;
use super::strategy::{Load, Placed, StepView, Views, order};
use crate::clock::Moment;
use crate::ids::ComboName;

/// Legs beyond this are not looked at: a plan may not grow without bound by nesting.
pub const MOST_LEGS: usize = 1_000;

/// A question to the plan.
pub(super) struct Question<'a> {
    pub plan: &'a ReadyPlan,
    pub asked: &'a str,
    pub features: &'a Arc<RequestFeatures>,
    pub now: Moment,
    /// A dry run uses up no turn and explores nothing.
    pub dry: bool,
}

/// Draw up the itinerary for a resolved model. When nothing meets every wish, wishes are dropped once.
pub(super) fn draw<R: Rng>(question: &Question<'_>, meaning: Meaning, rng: &mut R) -> Itinerary {
    let (features, plan) = (&**question.features, question.plan);
    let Meaning { resolution, direct } = meaning;
    let full = resolution.resolved.to_string_if(!plan.policies.is_empty());
    let mut screen = Screen::new(plan.shared_policies(), features, &[question.asked, &full]);
    let root = match &resolution.resolved {
        Resolved::Combo(name) => plan.route(name),
        Resolved::Auto { .. } => Some(plan.auto_route()),
        Resolved::Direct { .. } => None,
    };
    let turn = root.map_or(0, |route| match route.combo.strategy.takes_turns() && !question.dry {
        true => route.combo.state.take_turn(),
        false => route.combo.state.turn(),
    });
    let start = Start { question, resolution: &resolution, direct, root, turn };
    let mut drawn = start.run(&screen, false, rng);
    let relaxed = drawn.legs.is_empty() && drawn.has_wishes;
    if relaxed {
        screen.without_tags();
        drawn = start.run(&screen, true, rng);
    }
    let combo = root.map(|route| Arc::clone(&route.combo));
    let relays = combo.as_ref().filter(|combo| combo.strategy == Strategy::ContextRelay);
    let floor = relays.map(|combo| 1.0 - combo.config.handoff.threshold);
    let Outcome { legs, excluded, .. } = drawn;
    let (features, seed) = (Arc::clone(question.features), rng.random());
    Itinerary { resolution, combo, legs, excluded, features, relaxed, floor, screen, seed }
}

impl Resolved {
    /// For policies that name models; not worth an allocation without them.
    fn to_string_if(&self, wanted: bool) -> String {
        match self {
            _ if !wanted => String::new(),
            Self::Combo(name) => name.as_str().to_owned(),
            other => other.to_string(),
        }
    }
}

struct Start<'a> {
    question: &'a Question<'a>,
    resolution: &'a Resolution,
    direct: Option<Arc<Target>>,
    root: Option<&'a ComboRoute>,
    turn: u64,
}

#[derive(Default)]
struct Outcome {
    legs: Vec<Leg>,
    excluded: Vec<Excluded>,
    has_wishes: bool,
}

impl Start<'_> {
    fn run<R: Rng>(&self, screen: &Screen, relaxed: bool, rng: &mut R) -> Outcome {
        let (plan, features) = (self.question.plan, &**self.question.features);
        let (category, tier) = self.class();
        let filter = Filter { features, screen, category, tier, relaxed };
        let task = features.task.as_deref().or(category);
        let rule = Rule::of(features, if self.resolution.extended { EXTENDED_WINDOW } else { 0 });
        let now = self.question.now;
        let mut drawing = Drawing {
            plan,
            filter,
            features,
            task,
            now,
            dry: self.question.dry,
            rng,
            looks: Looks::default(),
            out: Outcome::default(),
        };
        let legs = match self.root {
            Some(route) => {
                let took_turn = AtomicBool::new(true);
                let path = Arc::new(Path { combo: Arc::clone(&route.combo), above: None, took_turn });
                drawing.combo(route, (self.turn, 0), rule, &path)
            }
            None => self.direct.as_ref().and_then(|target| drawing.direct(target, rule)).into_iter().collect(),
        };
        let plain = self.root.is_none_or(|route| route.is_plain);
        drawing.out.legs = legs;
        let chained = drawing.chain(self.chain(), rule);
        let screened = screen.prefers();
        let mut out = drawing.out;
        // Each step of an ensemble is asked, and in its place.
        let ensemble = self.root.is_some_and(|route| route.combo.strategy.runs_all());
        if (!plain || chained) && !ensemble {
            distinct(&mut out.legs);
        }
        if relaxed {
            cheapest(&mut out.legs, features, self.budget(rule));
        }
        if screened && !ensemble {
            prefer(&mut out.legs, screen);
        }
        out
    }

    fn class(&self) -> (Option<&str>, Option<Tier>) {
        match &self.resolution.resolved {
            Resolved::Auto { category, tier } => (category.as_deref(), *tier),
            _ => (None, None),
        }
    }

    /// The chain of the string as it was asked for, or else of what it means.
    fn chain(&self) -> &[Link] {
        let plan = self.question.plan;
        if plan.chains.is_empty() {
            return &[];
        }
        let means = || match &self.resolution.resolved {
            Resolved::Direct { provider, model } => plan.chain(&format!("{provider}/{model}")),
            Resolved::Combo(name) => plan.chain(name.as_str()),
            Resolved::Auto { .. } => None,
        };
        plan.chain(self.question.asked).or_else(means).unwrap_or_default()
    }

    fn budget(&self, rule: Rule) -> Option<u64> {
        let config = self.root.map(|route| &route.combo.config);
        let rule = config.map_or(rule, |config| rule.within(config, self.question.features));
        rule.budget.filter(|_| rule.over_budget == OverBudget::Cheapest)
    }
}

struct Drawing<'a, R> {
    plan: &'a ReadyPlan,
    filter: Filter<'a>,
    features: &'a RequestFeatures,
    task: Option<&'a str>,
    now: Moment,
    dry: bool,
    rng: &'a mut R,
    looks: Looks,
    out: Outcome,
}

/// A step that is left: what is known about it, and the legs it stands for.
struct Left {
    view: StepView,
    legs: Legs,
}

enum Legs {
    One(Arc<Target>),
    Many(Vec<Leg>),
}

impl<R: Rng> Drawing<'_, R> {
    /// Steps in the order of the combo's own strategy; nested combos bring theirs.
    fn combo(&mut self, route: &ComboRoute, (turn, depth): (u64, usize), rule: Rule, path: &Arc<Path>) -> Vec<Leg> {
        let combo = &route.combo;
        let rule = rule.within(&combo.config, self.features);
        let mut left: Vec<Left> = Vec::with_capacity(route.links.len());
        for (place, link) in route.links.iter().enumerate() {
            left.extend(self.step((place, link), depth, rule, path));
        }
        let steps: Vec<StepView> = left.iter().map(|left| left.view).collect();
        let views = Views {
            steps: &steps,
            all: route.links.len(),
            schedule: &route.schedule,
            config: &combo.config,
            seed: route.seed,
            explore: !self.dry,
        };
        let placed = order(combo.strategy, &views, self.features, turn, self.rng);
        unfold(placed, left, path)
    }

    fn step(&mut self, (place, link): (usize, &Link), depth: usize, rule: Rule, path: &Arc<Path>) -> Option<Left> {
        let combo = &path.combo;
        let (target, legs) = match &link.to {
            LinkTo::Target(target) => {
                let target = self.in_pool(target, combo).and_then(|target| self.fits(target, rule))?;
                (Arc::clone(&target), Legs::One(target))
            }
            LinkTo::Combo(name) => {
                let legs = self.nested(name, link, (depth, rule), path);
                (Arc::clone(&legs.first()?.target), Legs::Many(legs))
            }
        };
        let load = if combo.strategy.looks_at_load() { self.load(&target) } else { Load::NONE };
        Some(Left { view: StepView { place, load, ..self.view(link, &target, combo) }, legs })
    }

    /// An `auto` combo may name a pool of its own.
    fn in_pool<'t>(&mut self, target: &'t Arc<Target>, combo: &Combo) -> Option<&'t Arc<Target>> {
        let pool = if combo.strategy == Strategy::Auto { &*combo.config.auto.pool } else { &[] };
        let is_in = in_pool(pool, target.provider(), &target.model);
        if !is_in {
            self.exclude(target, Misfit::Category);
        }
        is_in.then_some(target)
    }

    fn fits(&mut self, target: &Arc<Target>, rule: Rule) -> Option<Arc<Target>> {
        match self.filter.check(target, rule) {
            Ok(()) => Some(Arc::clone(target)),
            Err(out) => {
                self.out.has_wishes |= out.soft;
                self.exclude(target, out.why);
                None
            }
        }
    }

    fn exclude(&mut self, target: &Arc<Target>, why: Misfit) {
        if self.out.excluded.len() < MOST_LEGS {
            self.out.excluded.push(Excluded { target: Arc::clone(target), why });
        }
    }

    fn nested(&mut self, name: &ComboName, link: &Link, (depth, rule): (usize, Rule), path: &Arc<Path>) -> Vec<Leg> {
        let depth = depth + 1;
        let Some(route) = self.plan.route(name).filter(|_| depth < self.plan.max_combo_depth) else {
            return Vec::new();
        };
        let above = Some((Arc::clone(&link.id), link.hash, Arc::clone(path)));
        let combo = Arc::clone(&route.combo);
        let path = Arc::new(Path { combo, above, took_turn: AtomicBool::new(self.dry) });
        self.combo(route, (route.combo.state.turn(), depth), rule, &path)
    }

    fn load(&mut self, target: &Target) -> Load {
        self.looks.load(target, self.filter.screen, self.now, self.rng)
    }

    /// A nested combo is worth what its first leg is worth.
    fn view(&self, link: &Link, target: &Target, combo: &Combo) -> StepView {
        let (facts, state) = (&target.facts, &combo.state);
        let has_session = self.features.affinity.is_some_and(|session| state.session_is_at(session, link.hash));
        let relays = &combo.config.handoff.providers;
        let provider = target.provider().as_str();
        let task = match self.task {
            Some(task) if facts.is_for(task) => 1.0,
            Some(_) if !facts.categories.is_empty() => 0.2,
            _ => 0.5,
        };
        StepView {
            place: 0,
            hash: link.hash,
            weight: link.weight,
            load: Load::NONE,
            price: facts.cost(self.features, has_session),
            window: facts.context,
            task,
            tier: facts.tier.map(Tier::worth),
            answered_last: state.last_good() == link.hash,
            has_session,
            may_hand_off: relays.is_empty() || relays.iter().any(|relay| **relay == *provider),
        }
    }

    fn direct(&mut self, target: &Arc<Target>, rule: Rule) -> Option<Leg> {
        let target = self.fits(target, rule)?;
        Some(Leg { target, why: "direct", factors: None, step: 0, path: None })
    }

    /// What the operator named for when everything above failed. Returns whether there was something.
    fn chain(&mut self, links: &[Link], rule: Rule) -> bool {
        for link in links {
            let legs = match &link.to {
                LinkTo::Target(target) => {
                    let fit = self.fits(target, rule);
                    let leg = |target| Leg { target, why: "", factors: None, step: link.hash, path: None };
                    fit.map(leg).into_iter().collect()
                }
                LinkTo::Combo(name) => self.chained(name, rule),
            };
            self.out.legs.extend(legs.into_iter().map(|leg| Leg { why: "fallback_chain", ..leg }));
        }
        !links.is_empty()
    }

    fn chained(&mut self, name: &ComboName, rule: Rule) -> Vec<Leg> {
        let Some(route) = self.plan.route(name) else { return Vec::new() };
        let combo = Arc::clone(&route.combo);
        let path = Arc::new(Path { combo, above: None, took_turn: AtomicBool::new(self.dry) });
        self.combo(route, (route.combo.state.turn(), 0), rule, &path)
    }
}

/// From steps in order to legs in order. A nested combo's legs stay together and keep their own reasons.
fn unfold(placed: Vec<Placed>, left: Vec<Left>, path: &Arc<Path>) -> Vec<Leg> {
    let mut left: Vec<Option<Left>> = left.into_iter().map(Some).collect();
    let mut legs = Vec::with_capacity(left.len());
    for Placed { index, why, factors } in placed {
        match left.get_mut(index).and_then(Option::take) {
            Some(Left { legs: Legs::One(target), view }) => {
                legs.push(Leg { target, why, factors, step: view.hash, path: Some(Arc::clone(path)) });
            }
            Some(Left { legs: Legs::Many(many), .. }) => legs.extend(many),
            None => {}
        }
        if legs.len() >= MOST_LEGS {
            legs.truncate(MOST_LEGS);
            break;
        }
    }
    legs
}

/// What means the same is tried once, at its first place.
fn distinct(legs: &mut Vec<Leg>) {
    let mut seen = HashSet::new();
    legs.retain(|leg| seen.insert(leg.target.identity));
}

/// When everything is over the budget and that is allowed, only the cheapest serves.
fn cheapest(legs: &mut Vec<Leg>, features: &RequestFeatures, budget: Option<u64>) {
    let cost = |leg: &Leg| leg.target.facts.cost(features, false);
    let Some(budget) = budget else { return };
    if legs.iter().any(|leg| cost(leg).is_none_or(|cost| cost <= budget)) {
        return legs.retain(|leg| cost(leg).is_none_or(|cost| cost <= budget));
    }
    let least = legs.iter().filter_map(cost).min();
    legs.retain(|leg| cost(leg) == least);
    legs.iter_mut().for_each(|leg| leg.why = "cheapest_over_budget");
}

/// What policies prefer comes first; otherwise the order stays.
fn prefer(legs: &mut [Leg], screen: &Screen) {
    legs.sort_by_cached_key(|leg| screen.rank(&leg.target));
    legs.iter_mut()
        .filter(|leg| screen.rank(&leg.target) != usize::MAX)
        .for_each(|leg| leg.why = "preferred_by_policy");
}
