//! What the process takes on: beyond it, new calls are refused at once, before their body is read, so that those
//! that were let in stay quick. Three things are watched: calls in flight, the delay of each worker's event loop, and
//! memory. A key that floods the gateway is refused first; the others hardly notice.

mod pace;
mod share;
mod valve;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

pub use self::watch::watch;
use super::memory;
use crate::config::Overload as Settings;

/// Memory is tight until so many percent points below the limit.
const MEMORY_SLACK: u64 = 5;

/// Why a call is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// As many calls are in flight as there may be.
    InFlight,
    /// This key has more than its share of the calls.
    Share,
    /// The event loop is late.
    Lag,
    /// Memory is short.
    Memory,
}

impl Shed {
    const ALL: [Self; 4] = [Self::InFlight, Self::Share, Self::Lag, Self::Memory];

    /// The word for metrics and people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Share => "key_share",
            Self::Lag => "event_loop_lag",
            Self::Memory => "memory",
        }
    }
}

/// The calls of one key that are in flight.
#[derive(Debug, Default)]
pub struct KeyLoad(AtomicU32);

/// The shared state.
#[derive(Debug, Default)]
pub struct Overload {
    in_flight: AtomicU64,
    active_keys: AtomicU64,
    memory_is_tight: AtomicBool,
    shed: [AtomicU64; Shed::ALL.len()],
}

impl Overload {
    /// Take a call of this key, or not. It counts until the pass is dropped.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn admit(self: &Arc<Self>, settings: &Settings, key: &Arc<KeyLoad>) -> Result<Pass, Shed> {
        let verdict = self.verdict(settings, key);
        if let Err(why) = verdict
            && let Some(count) = self.count(why)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        verdict.map(|()| Pass::enter(self, key))
    }

    fn verdict(&self, settings: &Settings, key: &Arc<KeyLoad>) -> Result<(), Shed> {
        if self.memory_is_tight.load(Ordering::Relaxed) {
            return Err(Shed::Memory);
        }
        self.room(settings.max_in_flight, key)?;
        if settings.max_lag_ms == 0 || watch::takes(Arc::as_ptr(key).addr()) { Ok(()) } else { Err(Shed::Lag) }
    }

    /// A key below its even share is let in a little beyond the limit, so that one that came first and filled everything
    /// does not keep it out.
    fn room(&self, most: u64, key: &KeyLoad) -> Result<(), Shed> {
        let (all, own) = (self.in_flight.load(Ordering::Relaxed), u64::from(key.0.load(Ordering::Relaxed)));
        if most == 0 || all < most - most / 5 {
            return Ok(());
        }
        let keys = self.active_keys.load(Ordering::Relaxed) + u64::from(own == 0);
        let below_share = own < (most / keys.max(1)).max(1);
        match (below_share, keys) {
            (true, 2..) if all < most + most / 5 => Ok(()),
            (true, _) if all < most => Ok(()),
            (true, _) => Err(Shed::InFlight),
            (false, ..=1) => Err(Shed::InFlight),
            (false, _) => Err(Shed::Share),
        }
    }

    /// Whether there is room for what can wait: at most half of the calls are in flight, this worker is in time, and memory
    /// is at ease.
    pub fn is_at_ease(&self, settings: &Settings) -> bool {
        let most = settings.max_in_flight;
        let half_empty = most == 0 || self.in_flight.load(Ordering::Relaxed) < most.div_ceil(2);
        let in_time = settings.max_lag_ms == 0 || !watch::limits();
        half_empty && in_time && !self.memory_is_tight.load(Ordering::Relaxed)
    }

    /// What was refused, by reason.
    pub fn refused(&self) -> [(&'static str, u64); Shed::ALL.len()] {
        Shed::ALL.map(|why| (why.as_str(), self.count(why).map_or(0, |count| count.load(Ordering::Relaxed))))
    }

    fn count(&self, why: Shed) -> Option<&AtomicU64> {
        self.shed.get(why as usize)
    }

    /// Look at the memory. To be called several times a second.
    pub fn look_at_memory(&self, settings: &Settings) {
        let used = memory::resident().zip(memory::limit());
        self.judge_memory(settings.max_memory_percent, used);
    }

    fn judge_memory(&self, most: u64, used: Option<(u64, u64)>) {
        let percent = used.map_or(0, |(used, limit)| used.saturating_mul(100) / limit.max(1));
        let was = self.memory_is_tight.load(Ordering::Relaxed);
        let bound = if was { most.saturating_sub(MEMORY_SLACK) } else { most };
        let tight = most > 0 && percent >= bound;
        self.memory_is_tight.store(tight, Ordering::Relaxed);
        if tight != was {
            tracing::warn!(percent, tight, "memory: new calls are refused while it is tight");
        }
    }
}

/// One call that was taken.
#[derive(Debug)]
pub struct Pass {
    overload: Arc<Overload>,
    key: Arc<KeyLoad>,
}

impl Pass {
    fn enter(overload: &Arc<Overload>, key: &Arc<KeyLoad>) -> Self {
        overload.in_flight.fetch_add(1, Ordering::Relaxed);
        if key.0.fetch_add(1, Ordering::Relaxed) == 0 {
            overload.active_keys.fetch_add(1, Ordering::Relaxed);
        }
        Self { overload: Arc::clone(overload), key: Arc::clone(key) }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        watch::ends();
        self.overload.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.key.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.overload.active_keys.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(max_in_flight: u64) -> Settings {
        Settings { max_in_flight, ..Settings::default() }
    }

    fn flood(overload: &Arc<Overload>, key: &Arc<KeyLoad>, most: u64) -> (Vec<Pass>, Shed) {
        let mut passes = Vec::new();
        loop {
            match overload.admit(&settings(most), key) {
                Ok(pass) => passes.push(pass),
                Err(why) => return (passes, why),
            }
        }
    }

    #[test]
    fn one_key_alone_may_have_everything_and_no_more() {
        let (overload, key) = (Arc::new(Overload::default()), Arc::default());

        let (passes, why) = flood(&overload, &key, 100);

        assert_eq!((passes.len(), why), (100, Shed::InFlight));
        drop(passes);
        assert!(overload.admit(&settings(100), &key).is_ok(), "what ended makes room");
    }

    #[test]
    fn a_key_that_came_late_still_gets_its_share() {
        let (overload, noisy, quiet) = (Arc::new(Overload::default()), Arc::default(), Arc::default());
        let (mut passes, _) = flood(&overload, &noisy, 100);

        let (late, why) = flood(&overload, &quiet, 100);
        passes.truncate(70);

        assert_eq!((late.len(), why), (20, Shed::InFlight));
        assert_eq!(overload.admit(&settings(100), &noisy).unwrap_err(), Shed::Share);
        assert!(overload.admit(&settings(100), &quiet).is_ok());
    }

    #[test]
    fn what_can_wait_waits_before_anybody_is_refused() {
        let (overload, key) = (Arc::new(Overload::default()), Arc::default());
        let mut passes: Vec<_> = (0..49).filter_map(|_| overload.admit(&settings(100), &key).ok()).collect();
        let before = overload.is_at_ease(&settings(100));

        passes.extend(overload.admit(&settings(100), &key));

        assert!(before && !overload.is_at_ease(&settings(100)));
        assert!(overload.is_at_ease(&settings(0)) && overload.admit(&settings(100), &key).is_ok());
    }

    #[test]
    fn no_limit_refuses_nobody() {
        let (overload, key) = (Arc::new(Overload::default()), Arc::<KeyLoad>::default());
        key.0.store(1_000_000, Ordering::Relaxed);
        overload.in_flight.store(1_000_000, Ordering::Relaxed);

        assert!(overload.admit(&settings(0), &key).is_ok());
    }

    #[test]
    fn tight_memory_refuses_until_it_is_clearly_better() {
        let (overload, key) = (Arc::new(Overload::default()), Arc::default());
        let judged = |used: u64| {
            overload.judge_memory(85, Some((used, 100)));
            overload.admit(&settings(0), &key).err()
        };

        let verdicts = [84, 85, 82, 79, 84].map(judged);

        assert_eq!(verdicts, [None, Some(Shed::Memory), Some(Shed::Memory), None, None]);
        assert_eq!(overload.refused()[Shed::Memory as usize], ("memory", 2));
    }

    #[test]
    fn a_process_without_a_limit_of_memory_is_never_short_of_it() {
        let overload = Overload::default();

        overload.judge_memory(85, None);

        assert!(!overload.memory_is_tight.load(Ordering::Relaxed));
    }
}
