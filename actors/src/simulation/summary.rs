//! What was seen in a world, so that a run says whether it has seen everything.

/// How many things are counted.
const COUNTS: usize = 19;

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
    pub restarts: u64,
    pub hedges: u64,
    pub again: u64,
    pub empty_buckets: u64,
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

    fn each(&self) -> [u64; COUNTS] {
        let mut copy = *self;
        copy.each_mut().map(|field| *field)
    }

    fn each_mut(&mut self) -> [&mut u64; COUNTS] {
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
            &mut self.restarts,
            &mut self.hedges,
            &mut self.again,
            &mut self.empty_buckets,
        ]
    }
}
