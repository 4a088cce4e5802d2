//! From the model string of a request to what it means: a combo, or a model at a provider; and how that was found.
//!
//! The order: a combo of that name, `combo/<name>`, the patterns that combos serve, `auto`, an alias, an alias with a
//! wildcard, `prefix/model`, a bare model. `[1m]` at the end asks for the extended context and is no part of the name.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::facts::Tier;
use super::plan::{ReadyPlan, RoutingPlan};
use crate::ids::{ComboName, ModelName, ProviderId};

/// The longest model string.
pub const LONGEST: usize = 512;
/// What asks for the extended context.
const EXTENDED: &str = "[1m]";
/// The window that it asks for.
pub const EXTENDED_WINDOW: u32 = 1_000_000;

/// What a model string means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// A combo.
    Combo(ComboName),
    /// The virtual combo over everything that is switched on.
    Auto {
        /// Only what is good at this.
        category: Option<Arc<str>>,
        /// Only this class.
        tier: Option<Tier>,
    },
    /// A model at one provider.
    Direct {
        /// The provider.
        provider: ProviderId,
        /// The model as the provider calls it.
        model: ModelName,
    },
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Combo(name) => write!(f, "combo {name}"),
            Self::Direct { provider, model } => write!(f, "{provider}/{model}"),
            Self::Auto { category, tier } => {
                write!(f, "auto")?;
                category.as_ref().map_or(Ok(()), |category| write!(f, "/{category}"))?;
                tier.map_or(Ok(()), |tier| write!(f, ":{}", tier.as_str()))
            }
        }
    }
}

/// One step on the way from a model string to its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// The suffix for the extended context was taken off.
    Extended,
    /// A pattern that a combo serves.
    Mapping(Arc<str>, ComboName),
    /// An alias.
    Alias(Arc<str>, Arc<str>),
    /// An alias with a wildcard.
    Wildcard(Arc<str>, Arc<str>),
    /// A prefix.
    Prefix(ProviderId),
    /// The only provider that lists the bare model.
    OnlyProvider(ProviderId),
    /// The name of a combo.
    Combo(ComboName),
    /// The virtual combo.
    Auto,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extended => write!(f, "suffix {EXTENDED} -> extended context"),
            Self::Mapping(pattern, combo) => write!(f, "mapping {pattern} -> combo {combo}"),
            Self::Alias(name, to) => write!(f, "alias {name} -> {to}"),
            Self::Wildcard(pattern, to) => write!(f, "wildcard alias {pattern} -> {to}"),
            Self::Prefix(provider) => write!(f, "prefix of provider {provider}"),
            Self::OnlyProvider(provider) => write!(f, "listed by provider {provider} alone"),
            Self::Combo(name) => write!(f, "combo {name}"),
            Self::Auto => write!(f, "auto"),
        }
    }
}

/// A resolved model string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What it means.
    pub resolved: Resolved,
    /// How that was found.
    pub via: SmallVec<[Via; 2]>,
    /// Whether the extended context was asked for.
    pub extended: bool,
}

impl Resolution {
    /// How it was found, for people.
    pub fn steps(&self) -> Vec<String> {
        self.via.iter().map(ToString::to_string).collect()
    }
}

/// Why it means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// Not a model string at all.
    #[error("the model name is empty, too long, or has control characters or '../' in it")]
    Malformed,
    /// Several providers serve it.
    #[error("the model is served by several providers; use one of: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The provider is known but has no connection.
    #[error("there is no connection for provider '{0}'")]
    NoConnection(ProviderId),
    /// Nobody serves it.
    #[error("no combo, provider or connection serves this model")]
    Unknown,
}

impl RoutingPlan {
    /// Resolve a model string while the plan is still being written.
    ///
    /// # Errors
    /// Why it means nothing here.
    pub fn resolve(&self, asked: &str) -> Result<Resolution, Unresolved> {
        Resolver { plan: self, ready: None }.resolve(asked)
    }
}

impl ReadyPlan {
    /// Resolve a model string.
    ///
    /// # Errors
    /// Why it means nothing here.
    pub fn resolve(&self, asked: &str) -> Result<Resolution, Unresolved> {
        Resolver { plan: self, ready: Some(self) }.resolve(asked)
    }
}

type Path = SmallVec<[Via; 2]>;

struct Resolver<'a> {
    plan: &'a RoutingPlan,
    ready: Option<&'a ReadyPlan>,
}

impl Resolver<'_> {
    fn resolve(&self, asked: &str) -> Result<Resolution, Unresolved> {
        if asked.is_empty() || asked.len() > LONGEST || asked.contains("../") || asked.chars().any(char::is_control) {
            return Err(Unresolved::Malformed);
        }
        let mut via = Path::new();
        let name = asked.strip_suffix(EXTENDED).filter(|name| !name.is_empty());
        if name.is_some() {
            via.push(Via::Extended);
        }
        let resolved = self.named(name.unwrap_or(asked), asked, &mut via)?;
        Ok(Resolution { resolved, via, extended: name.is_some() })
    }

    fn named(&self, name: &str, asked: &str, via: &mut Path) -> Result<Resolved, Unresolved> {
        if let Some(found) =
            self.combo(name, via).or_else(|| self.mapping(name, asked, via)).or_else(|| auto(name, via))
        {
            return Ok(found);
        }
        match self.alias(name, via) {
            Some(target) => self.combo(&target, via).map_or_else(|| self.direct(&target, via), Ok),
            None => self.direct(name, via),
        }
    }

    fn combo(&self, name: &str, via: &mut Path) -> Option<Resolved> {
        let named = |name: &str| self.plan.combos.get_key_value(name).map(|(name, _)| name.clone());
        let found = named(name).or_else(|| named(name.strip_prefix("combo/")?))?;
        via.push(Via::Combo(found.clone()));
        Some(Resolved::Combo(found))
    }

    /// The plan's mappings are in order; one to a combo that is gone counts as none.
    fn mapping(&self, name: &str, asked: &str, via: &mut Path) -> Option<Resolved> {
        let fits = |glob: &super::glob::Glob| glob.matches(name) || (asked != name && glob.matches(asked));
        let there = self.plan.mappings.iter().filter(|mapping| self.plan.combos.contains_key(&mapping.combo));
        let found = there.into_iter().find(|mapping| fits(&mapping.glob))?;
        via.push(Via::Mapping(found.glob.as_str().into(), found.combo.clone()));
        Some(Resolved::Combo(found.combo.clone()))
    }

    /// One hop: the target is not looked up among the aliases again.
    fn alias(&self, name: &str, via: &mut Path) -> Option<Arc<str>> {
        let aliases = &self.plan.aliases;
        if let Some(target) = aliases.exact(name) {
            via.push(Via::Alias(name.into(), Arc::clone(target)));
            return Some(Arc::clone(target));
        }
        let (glob, target) = aliases.wild(name)?;
        via.push(Via::Wildcard(glob.as_str().into(), Arc::clone(target)));
        Some(Arc::clone(target))
    }

    fn direct(&self, name: &str, via: &mut Path) -> Result<Resolved, Unresolved> {
        let prefixed = name.split_once('/').and_then(|(prefix, model)| Some((self.plan.prefixes.get(prefix)?, model)));
        match prefixed {
            Some((_, "")) => Err(Unresolved::Malformed),
            Some((provider, model)) if self.serves(provider) => {
                via.push(Via::Prefix(provider.clone()));
                Ok(direct(provider, model))
            }
            // "meta-llama/x" may be a whole model id although a provider of that name exists without a key.
            Some((provider, _)) => self.bare(name, via).map_err(|problem| match problem {
                Unresolved::Unknown => Unresolved::NoConnection(provider.clone()),
                other => other,
            }),
            None => self.bare(name, via),
        }
    }

    fn serves(&self, provider: &ProviderId) -> bool {
        self.ready.map_or_else(|| self.plan.serves(provider), |ready| ready.serves(provider))
    }

    fn bare(&self, name: &str, via: &mut Path) -> Result<Resolved, Unresolved> {
        let searched;
        let providers = match self.ready {
            Some(ready) => ready.providers_of(name),
            None => {
                searched = self.plan.providers_of(name);
                &searched
            }
        };
        match providers {
            [only] => {
                via.push(Via::OnlyProvider(only.clone()));
                Ok(direct(only, name))
            }
            [] => Err(Unresolved::Unknown),
            several => {
                Err(Unresolved::Ambiguous(several.iter().map(|provider| format!("{provider}/{name}")).collect()))
            }
        }
    }
}

/// `auto`, `auto/<category>`, `auto/<category>:<tier>`.
fn auto(name: &str, via: &mut Path) -> Option<Resolved> {
    let (category, tier) = match name.strip_prefix("auto")? {
        "" => (None, None),
        rest => {
            let rest = rest.strip_prefix('/').filter(|rest| !rest.is_empty())?;
            match rest.split_once(':') {
                Some((category, tier)) => (Some(category), Some(Tier::parse(tier)?)),
                None => (Some(rest), None),
            }
        }
    };
    via.push(Via::Auto);
    Some(Resolved::Auto { category: category.filter(|word| !word.is_empty()).map(Arc::from), tier })
}

fn direct(provider: &ProviderId, model: &str) -> Resolved {
    Resolved::Direct { provider: provider.clone(), model: ModelName::from(model) }
}
