//! From the model string of a request to what it means: a combo, or a model at a provider.

use crate::ids::{ComboName, ModelName, ProviderId};

use super::plan::RoutingPlan;

/// The longest model string.
pub const LONGEST: usize = 512;

/// What a model string means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// A combo.
    Combo(ComboName),
    /// A model at one provider.
    Direct {
        /// The provider.
        provider: ProviderId,
        /// The model as the provider calls it.
        model: ModelName,
    },
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
    /// Resolve a model string: combo name, `combo/<name>`, `prefix/model`, bare model.
    ///
    /// # Errors
    /// Why it means nothing here.
    pub fn resolve(&self, asked: &str) -> Result<Resolved, Unresolved> {
        if asked.is_empty() || asked.len() > LONGEST || asked.contains("../") || asked.chars().any(char::is_control) {
            return Err(Unresolved::Malformed);
        }
        self.combo(asked).map_or_else(|| self.direct(asked), |name| Ok(Resolved::Combo(name)))
    }

    fn combo(&self, asked: &str) -> Option<ComboName> {
        let named = |name: &str| self.combos.get_key_value(name).map(|(name, _)| name.clone());
        named(asked).or_else(|| named(asked.strip_prefix("combo/")?))
    }

    fn direct(&self, asked: &str) -> Result<Resolved, Unresolved> {
        let prefixed = asked.split_once('/').and_then(|(prefix, model)| Some((self.prefixes.get(prefix)?, model)));
        match prefixed {
            Some((_, "")) => Err(Unresolved::Malformed),
            Some((provider, model)) if self.serves(provider) => Ok(direct(provider, model)),
            // "meta-llama/x" may be a whole model id although a provider of that name exists without a key.
            Some((provider, _)) => self.bare(asked).map_err(|problem| match problem {
                Unresolved::Unknown => Unresolved::NoConnection(provider.clone()),
                other => other,
            }),
            None => self.bare(asked),
        }
    }

    fn bare(&self, asked: &str) -> Result<Resolved, Unresolved> {
        match self.providers_of(asked).as_slice() {
            [only] => Ok(direct(only, asked)),
            [] => Err(Unresolved::Unknown),
            several => {
                Err(Unresolved::Ambiguous(several.iter().map(|provider| format!("{provider}/{asked}")).collect()))
            }
        }
    }
}

fn direct(provider: &ProviderId, model: &str) -> Resolved {
    Resolved::Direct { provider: provider.clone(), model: ModelName::from(model) }
}
