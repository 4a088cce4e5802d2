//! What model strings meant lately: a replica works out the same question to the same plan once.
//!
//! Private to its replica, so nothing is shared and nothing waits. Clients ask for few names again and again, and a name
//! that no list of the plan knows costs a look through all that is known about models.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::plan::{ReadyPlan, Target};
use super::resolve::{Resolution, Resolved, Unresolved};

/// Names that are remembered; when there are more, all are worked out anew.
const MOST: usize = 256;

/// What a model string means under one plan.
#[derive(Debug, Clone)]
pub(super) struct Meaning {
    pub resolution: Arc<Resolution>,
    /// What it leads to, for a model at one provider.
    pub direct: Option<Arc<Target>>,
}

impl Meaning {
    pub(super) fn of(plan: &ReadyPlan, asked: &str) -> Result<Self, Unresolved> {
        let resolution = plan.resolve(asked)?;
        let direct = match &resolution.resolved {
            Resolved::Direct { provider, model } => plan.direct(provider, model),
            Resolved::Combo(_) | Resolved::Auto { .. } => None,
        };
        Ok(Self { resolution: Arc::new(resolution), direct })
    }
}

/// The meanings that are remembered.
#[derive(Debug, Default)]
pub(super) struct Lately {
    /// The plan that they hold under. It is not kept alive, only its address from being used again.
    plan: Weak<ReadyPlan>,
    meanings: HashMap<Arc<str>, Meaning>,
}

impl Lately {
    /// What this model string means.
    pub(super) fn meaning(&mut self, plan: &Arc<ReadyPlan>, asked: &Arc<str>) -> Result<Meaning, Unresolved> {
        if self.plan.as_ptr() != Arc::as_ptr(plan) {
            *self = Self { plan: Arc::downgrade(plan), ..Self::default() };
        }
        if let Some(known) = self.meanings.get(asked) {
            return Ok(known.clone());
        }
        let meaning = Meaning::of(plan, asked)?;
        if self.meanings.len() >= MOST {
            self.meanings.clear();
        }
        self.meanings.insert(Arc::clone(asked), meaning.clone());
        Ok(meaning)
    }
}

// The whole-crate model build has no connections to test with.
#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;
    use crate::ids::{ModelName, ProviderId};
    use crate::router::facts::{Knowing, Knows, ModelFacts};
    use crate::router::plan::{ProviderEntry, RoutingPlan};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Counts how often it is asked.
    #[derive(Default)]
    struct Asked(AtomicU32);

    impl Knows for Asked {
        fn facts(&self, _: &ProviderId, _: &ModelName) -> Arc<ModelFacts> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Arc::default()
        }
    }

    fn plan(knows: &Arc<Asked>) -> Arc<ReadyPlan> {
        let mut plan =
            RoutingPlan { knowledge: Knowing::of(Arc::clone(knows) as Arc<dyn Knows>), ..RoutingPlan::default() };
        let connection = crate::testing::handle(crate::testing::config("p"));
        plan.prefixes.insert("p".into(), "p".into());
        plan.providers.insert("p".into(), ProviderEntry { connections: vec![connection], ..ProviderEntry::default() });
        Arc::new(plan.ready())
    }

    #[test]
    fn a_name_is_worked_out_once_per_plan() {
        let knows = Arc::new(Asked::default());
        let (plans, asked) = ([plan(&knows), plan(&knows)], Arc::from("p/model"));
        let mut lately = Lately::default();

        for plan in [&plans[0], &plans[0], &plans[1], &plans[1]] {
            let meaning = lately.meaning(plan, &asked).unwrap();
            assert_eq!(meaning.direct.unwrap().model.as_str(), "model");
        }

        assert_eq!(knows.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn many_names_take_no_more_room_than_few() {
        let plan = plan(&Arc::default());
        let mut lately = Lately::default();

        for name in 0..3 * MOST {
            lately.meaning(&plan, &Arc::from(format!("p/{name}"))).unwrap();
        }

        assert!(lately.meanings.len() <= MOST);
    }

    #[test]
    fn what_means_nothing_is_not_remembered() {
        let plan = plan(&Arc::default());
        let mut lately = Lately::default();

        assert_eq!(lately.meaning(&plan, &Arc::from("nothing")).unwrap_err(), Unresolved::Unknown);

        assert!(lately.meanings.is_empty());
    }
}
