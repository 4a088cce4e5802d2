//! Hard filters, before any order: whether a target can serve this request at all, and whether it may.
//!
//! What falls out keeps its reason. Some reasons are wishes: when nothing is left, what fell out by a wish alone comes
//! back in. A request is never refused over an estimate that may be a little too large.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::config::{ComboConfig, OverBudget, Strictness};
use super::facts::{ModelFacts, Tier};
use super::features::{Needs, RequestFeatures, TagMatch, Tags};
use super::plan::pool::{Member, Profile};
use super::plan::{Pin, Target};
use super::policy::{Account, Effect, Place, Policy};

/// Why a target cannot serve a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Its provider has no such connection.
    NoConnection,
    /// The model lacks these abilities.
    Lacks(Needs),
    /// Its window is too small, or unknown where that is not allowed.
    Window {
        /// The window, if it is known.
        has: Option<u32>,
        /// What is needed.
        needs: u32,
    },
    /// No connection of it has the request's tags.
    Tags,
    /// A policy keeps it away.
    Policy(Arc<str>),
    /// No policy allows it.
    NotAllowed,
    /// It is dearer than the request wants.
    Price,
    /// The request would cost more there than it may, in nano-USD.
    OverBudget(u64),
    /// It is not of the asked class or for the asked task.
    Category,
}

impl Misfit {
    /// The word for headers, logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NoConnection => "no_connection",
            Self::Lacks(_) => "lacks_capability",
            Self::Window { .. } => "context_window",
            Self::Tags => "tags",
            Self::Policy(_) => "policy",
            Self::NotAllowed => "policy_not_allowed",
            Self::Price => "price",
            Self::OverBudget(_) => "over_budget",
            Self::Category => "category",
        }
    }

    /// Whether a policy is the reason.
    pub const fn is_policy(&self) -> bool {
        matches!(self, Self::Policy(_) | Self::NotAllowed)
    }

    /// Whether another request could be served there: the client can do something about it.
    pub const fn is_about_the_request(&self) -> bool {
        !self.is_policy() && !matches!(self, Self::NoConnection)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection => write!(f, "has no connection"),
            Self::Lacks(needs) => write!(f, "cannot do {}", needs.words().collect::<Vec<_>>().join(", ")),
            Self::Window { has: Some(has), needs } => write!(f, "has a window of {has} tokens, {needs} are needed"),
            Self::Window { has: None, needs } => write!(f, "has an unknown window, {needs} tokens are needed"),
            Self::Tags => write!(f, "has no connection with the tags asked for"),
            Self::Policy(name) => write!(f, "is kept away by the policy '{name}'"),
            Self::NotAllowed => write!(f, "is allowed by no policy"),
            Self::Price => write!(f, "is dearer than asked for"),
            Self::OverBudget(cost) => write!(f, "would cost {:.6} USD, more than the budget", *cost as f64 / 1e9),
            Self::Category => write!(f, "is not of the class asked for"),
        }
    }
}

/// A misfit, and whether the rule was only a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Out {
    pub why: Misfit,
    pub soft: bool,
}

impl Out {
    const fn hard(why: Misfit) -> Self {
        Self { why, soft: false }
    }
}

/// What the combos on the way to a target ask of it: the strictest word counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rule {
    pub min_window: u32,
    pub context: Strictness,
    pub tags: Strictness,
    pub budget: Option<u64>,
    pub over_budget: OverBudget,
}

impl Rule {
    pub fn of(features: &RequestFeatures, min_window: u32) -> Self {
        Self {
            min_window,
            budget: features.budget,
            over_budget: features.over_budget.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// With what a combo says.
    pub fn within(self, config: &ComboConfig, features: &RequestFeatures) -> Self {
        let strict = |a, b| if a == Strictness::Strict { a } else { b };
        let budget = [self.budget, config.budget].into_iter().flatten().min();
        Self {
            min_window: self.min_window.max(config.context.min_window.unwrap_or(0)),
            context: strict(self.context, config.context.mode),
            tags: strict(self.tags, config.tags),
            budget,
            over_budget: features.over_budget.unwrap_or(config.over_budget),
        }
    }
}

/// The request's policies and tags: what each target, and where that matters each connection, must pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Screen {
    policies: SmallVec<[Arc<Policy>; 2]>,
    tags: Tags,
    tag_match: TagMatch,
    /// Whether connections of one target may differ.
    by_account: bool,
}

impl Screen {
    /// For a request that names these models.
    pub fn new(policies: &[Arc<Policy>], features: &RequestFeatures, models: &[&str]) -> Self {
        let speaking = policies.iter().filter(|policy| policy.speaks(features, models)).cloned();
        let policies: SmallVec<[Arc<Policy>; 2]> = speaking.collect();
        let by_account = !features.tags.is_empty() || policies.iter().any(|policy| policy.is_about_accounts());
        Self { policies, tags: features.tags.clone(), tag_match: features.tag_match, by_account }
    }

    /// Without the tags.
    pub fn without_tags(&mut self) {
        self.tags.clear();
        self.by_account = self.policies.iter().any(|policy| policy.is_about_accounts());
    }

    /// Whether this connection of the target passes.
    pub fn admits(&self, target: &Target, member: &Member) -> Result<(), Misfit> {
        match target.pool.profile(member).filter(|_| self.by_account) {
            Some(profile) => self.profile(target, profile),
            None => Ok(()),
        }
    }

    /// Whether some connection of the target passes; else why the first does not.
    fn target(&self, target: &Target) -> Result<(), Misfit> {
        if self.policies.is_empty() && self.tags.is_empty() {
            return Ok(());
        }
        let pool = &target.pool;
        let pinned = match target.pin {
            Pin::At(place) => pool.member(place).and_then(|member| pool.profile(member)),
            Pin::Any | Pin::Gone => None,
        };
        let mut first = None;
        for profile in pool.profiles.iter().filter(|profile| pinned.is_none_or(|own| own == *profile)) {
            match self.profile(target, profile) {
                Ok(()) => return Ok(()),
                Err(why) => _ = first.get_or_insert(why),
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn profile(&self, target: &Target, profile: &Profile) -> Result<(), Misfit> {
        let account = account(target, profile);
        let place = place(target);
        let mut allowed = None;
        for policy in &self.policies {
            let means = || policy.means_account(account) && policy.means_place(place);
            match policy.effect {
                Effect::Deny if means() => return Err(Misfit::Policy(Arc::clone(&policy.name))),
                Effect::Require if !means() => return Err(Misfit::Policy(Arc::clone(&policy.name))),
                Effect::Allow => allowed = Some(allowed == Some(true) || means()),
                Effect::Deny | Effect::Require | Effect::Prefer => {}
            }
        }
        if allowed == Some(false) {
            return Err(Misfit::NotAllowed);
        }
        if self.tagged(account) { Ok(()) } else { Err(Misfit::Tags) }
    }

    fn tagged(&self, account: Account<'_>) -> bool {
        let has = |tag: &Arc<str>| account.tags.contains(tag) || account.step_tags.contains(tag);
        match self.tag_match {
            TagMatch::Any => self.tags.is_empty() || self.tags.iter().any(has),
            TagMatch::All => self.tags.iter().all(has),
        }
    }

    /// Whether any policy prefers something.
    pub fn prefers(&self) -> bool {
        self.policies.iter().any(|policy| policy.effect == Effect::Prefer)
    }

    /// The rank that preferring policies give a target: that of the first that means it.
    pub fn rank(&self, target: &Target) -> usize {
        let mut preferring = self.policies.iter().filter(|policy| policy.effect == Effect::Prefer);
        let means = |policy: &&Arc<Policy>| {
            let accounts = || target.pool.profiles.iter().any(|one| policy.means_account(account(target, one)));
            policy.means_place(place(target)) && accounts()
        };
        preferring.position(|policy| means(&policy)).unwrap_or(usize::MAX)
    }

    /// Whether this connection is preferred to others of its target.
    pub fn favours(&self, target: &Target, member: &Member) -> bool {
        let Some(profile) = target.pool.profile(member) else { return false };
        let mut preferring = self.policies.iter().filter(|policy| policy.effect == Effect::Prefer);
        preferring.any(|policy| {
            policy.is_about_accounts()
                && policy.means_account(account(target, profile))
                && policy.means_place(place(target))
        })
    }

    /// Whether some connections of a target are preferred to others.
    pub fn favours_some(&self) -> bool {
        self.policies.iter().any(|policy| policy.effect == Effect::Prefer && policy.is_about_accounts())
    }
}

fn place(target: &Target) -> Place<'_> {
    Place { provider: target.provider().as_str(), model: target.model.as_str(), facts: &target.facts }
}

fn account<'a>(target: &'a Target, profile: &'a Profile) -> Account<'a> {
    Account { step_tags: &target.tags, tags: &profile.tags, region: profile.region.as_deref() }
}

/// Everything that a target must pass.
pub(super) struct Filter<'a> {
    pub features: &'a RequestFeatures,
    pub screen: &'a Screen,
    /// Of `auto/<category>:<tier>`.
    pub category: Option<&'a str>,
    pub tier: Option<Tier>,
    /// Wishes do not count any more.
    pub relaxed: bool,
}

impl Filter<'_> {
    /// Whether the target can serve the request, and may.
    pub fn check(&self, target: &Target, rule: Rule) -> Result<(), Out> {
        let facts = &*target.facts;
        if target.pin == Pin::Gone || target.pool.members.is_empty() {
            return Err(Out::hard(Misfit::NoConnection));
        }
        let missing = facts.missing(self.features.needs);
        if !missing.is_empty() {
            return Err(Out::hard(Misfit::Lacks(missing)));
        }
        self.price(facts)?;
        self.screen.target(target).map_err(|why| {
            let soft = why == Misfit::Tags && rule.tags == Strictness::Lenient;
            Out { why, soft }
        })?;
        self.wishes(facts, rule)
    }

    fn wishes(&self, facts: &ModelFacts, rule: Rule) -> Result<(), Out> {
        let verdict = self.window(facts, rule).and_then(|()| self.budget(facts, rule)).and_then(|()| self.class(facts));
        match verdict {
            Err(out) if out.soft && self.relaxed => Ok(()),
            verdict => verdict,
        }
    }

    fn price(&self, facts: &ModelFacts) -> Result<(), Out> {
        let Some(price) = facts.price else { return Ok(()) };
        let above = |most: Option<u64>, own: u64| most.is_some_and(|most| own > most);
        if above(self.features.max_input_price, price.input) || above(self.features.max_output_price, price.output) {
            return Err(Out::hard(Misfit::Price));
        }
        Ok(())
    }

    /// The prompt alone, a tenth of slack taken off, must fit in any case; that the answer fits too is a wish.
    fn window(&self, facts: &ModelFacts, rule: Rule) -> Result<(), Out> {
        let (prompt, needs) = (self.features.prompt_tokens, self.features.tokens().max(rule.min_window));
        let strict = rule.context == Strictness::Strict;
        let out = |has, soft| Err(Out { why: Misfit::Window { has, needs }, soft });
        match facts.context {
            None if strict && needs > 0 => out(None, false),
            Some(window) if u64::from(prompt) * 10 > u64::from(window) * 11 => out(Some(window), false),
            Some(window) if needs > window => out(Some(window), !strict),
            _ => Ok(()),
        }
    }

    fn budget(&self, facts: &ModelFacts, rule: Rule) -> Result<(), Out> {
        match (facts.cost(self.features, false), rule.budget) {
            (Some(cost), Some(budget)) if cost > budget => {
                Err(Out { why: Misfit::OverBudget(cost), soft: rule.over_budget == OverBudget::Cheapest })
            }
            _ => Ok(()),
        }
    }

    fn class(&self, facts: &ModelFacts) -> Result<(), Out> {
        let fits = self.tier.is_none_or(|wanted| facts.tier == Some(wanted))
            && self.category.is_none_or(|wanted| facts.is_for(wanted));
        if fits { Ok(()) } else { Err(Out { why: Misfit::Category, soft: true }) }
    }
}
