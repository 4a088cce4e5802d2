//! Failed logins, counted per address and for the one account, so that guessing a password is hopeless and locking
//! the administrator out from one address does not lock out another.
//!
//! An attempt is counted before the password is looked at: two hundred at the same moment get no more tries than one
//! after the other. A success takes the count back.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;
use omniroute_actors::clock::{Clock, Moment};

use crate::config::ConfigHandle;

/// Addresses remembered at a time; more than that is an attack that the account's own count answers.
const REMEMBERED: u64 = 100_000;
/// The longest lock-out, after many series of failures.
const LONGEST: Duration = Duration::from_secs(86_400);
/// How many addresses' worth of failures the account bears before it slows down for all.
const ACCOUNT_FACTOR: u32 = 10;
/// The account's locks are short: a stranger must not be able to keep the administrator out.
const ACCOUNT_FIRST: Duration = Duration::from_secs(1);
const ACCOUNT_LONGEST: Duration = Duration::from_secs(60);

/// The counts.
pub struct LoginThrottle {
    config: ConfigHandle,
    clock: Arc<dyn Clock>,
    tries: Cache<Bucket, Tries>,
}

impl std::fmt::Debug for LoginThrottle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginThrottle").field("buckets", &self.tries.entry_count()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bucket {
    Account,
    Address(Option<IpAddr>),
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::Address(Some(ip)) => write!(f, "{ip}"),
            Self::Address(None) => f.write_str("unknown"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    failures: u32,
    since: Moment,
    locked_until: Moment,
    series: u32,
}

/// When a bucket locks, and for how long.
#[derive(Debug, Clone, Copy)]
struct Rule {
    attempts: u32,
    window: Duration,
    first: Duration,
    longest: Duration,
}

/// A login that is under way; it counts as failed until it says otherwise.
#[derive(Debug)]
#[must_use]
pub struct Attempt<'a> {
    throttle: &'a LoginThrottle,
    address: Bucket,
}

impl LoginThrottle {
    /// Nobody has failed yet.
    pub fn new(config: ConfigHandle, clock: Arc<dyn Clock>) -> Self {
        let tries = Cache::builder().max_capacity(REMEMBERED).time_to_idle(LONGEST).build();
        Self { config, clock, tries }
    }

    /// Count an attempt from this address.
    ///
    /// # Errors
    /// How long to wait when the address or the account is locked.
    pub fn begin(&self, ip: Option<IpAddr>) -> Result<Attempt<'_>, Duration> {
        let address = Bucket::Address(ip.map(neighbourhood));
        // Looked at before the address is counted: a locked account must not wash an address clean.
        self.look(Bucket::Account)?;
        self.count(address)?;
        if let Err(wait) = self.count(Bucket::Account) {
            // The account is slow for everybody: that is not this address's failure.
            self.take_back(address);
            return Err(wait);
        }
        Ok(Attempt { throttle: self, address })
    }

    /// Who is locked out, and for how long; the longest first.
    pub fn locked(&self) -> Vec<(String, Duration)> {
        let now = self.clock.now();
        let held = self.tries.iter().filter(|(_, tries)| now < tries.locked_until);
        let mut held: Vec<_> =
            held.map(|(bucket, tries)| (bucket.to_string(), tries.locked_until.until(now))).collect();
        held.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        held
    }

    /// Let one of them in again, by the name that [`Self::locked`] gives; whether there was such a one.
    pub fn unlock(&self, identifier: &str) -> bool {
        let now = self.clock.now();
        let fits =
            |(bucket, tries): &(Arc<Bucket>, Tries)| now < tries.locked_until && bucket.to_string() == identifier;
        let found = self.tries.iter().find(fits).map(|(bucket, _)| *bucket);
        found.inspect(|bucket| self.tries.invalidate(bucket)).is_some()
    }

    fn rule(&self, bucket: Bucket) -> Rule {
        let auth = &self.config.load().auth;
        let lockout = Duration::from_secs(auth.login_lockout_s);
        match bucket {
            Bucket::Address(_) => {
                Rule { attempts: auth.login_attempts, window: lockout, first: lockout, longest: LONGEST }
            }
            Bucket::Account => Rule {
                attempts: auth.login_attempts.saturating_mul(ACCOUNT_FACTOR),
                window: lockout,
                first: ACCOUNT_FIRST.min(lockout),
                longest: ACCOUNT_LONGEST.min(lockout),
            },
        }
    }

    fn look(&self, bucket: Bucket) -> Result<(), Duration> {
        let now = self.clock.now();
        match self.tries.get(&bucket) {
            Some(tries) if now < tries.locked_until => Err(tries.locked_until.until(now)),
            _ => Ok(()),
        }
    }

    fn count(&self, bucket: Bucket) -> Result<(), Duration> {
        let (rule, now) = (self.rule(bucket), self.clock.now());
        let mut verdict = Ok(());
        self.tries.entry(bucket).and_compute_with(|entry| {
            let before = entry.map(moka::Entry::into_value).unwrap_or_default();
            if now < before.locked_until {
                verdict = Err(before.locked_until.until(now));
                return Op::Nop;
            }
            Op::Put(before.tried(rule, now))
        });
        verdict
    }

    fn take_back(&self, bucket: Bucket) {
        self.tries.entry(bucket).and_compute_with(|entry| match entry.map(moka::Entry::into_value) {
            Some(tries) => {
                Op::Put(Tries { failures: tries.failures.saturating_sub(1), locked_until: Moment::START, ..tries })
            }
            None => Op::Nop,
        });
    }
}

impl Tries {
    fn tried(self, rule: Rule, now: Moment) -> Self {
        let quiet = now.since(self.since.max(self.locked_until));
        let before = match self {
            Self { failures: 0, series, .. } => Self { since: now, series, ..Self::default() },
            // A whole window without a failure is forgotten, a much longer quiet also the earlier series.
            _ if quiet > LONGEST => Self { since: now, ..Self::default() },
            Self { series, .. } if quiet > rule.window => Self { since: now, series, ..Self::default() },
            same => same,
        };
        let failures = before.failures + 1;
        if failures < rule.attempts {
            return Self { failures, ..before };
        }
        let wait = rule.first.saturating_mul(2_u32.saturating_pow(before.series.min(20))).min(rule.longest);
        Self { failures: 0, since: now, locked_until: now.after(wait), series: before.series.saturating_add(1) }
    }
}

impl Attempt<'_> {
    /// The password was right: forget this address's failures.
    pub fn succeeded(self) {
        self.throttle.tries.invalidate(&self.address);
        self.throttle.tries.invalidate(&Bucket::Account);
    }

    /// It could not be found out: nobody's failure.
    pub fn undecided(self) {
        self.throttle.take_back(self.address);
        self.throttle.take_back(Bucket::Account);
    }
}

/// Whom an address is counted with: whoever has one IPv6 address usually has 2^64 of them.
pub fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use omniroute_actors::clock::ManualClock;

    use super::*;
    use crate::config::Config;

    fn throttle() -> (Arc<ManualClock>, LoginThrottle) {
        let clock = Arc::new(ManualClock::at(Moment::from_millis(1_000)));
        let mut config = Config::default();
        (config.auth.login_attempts, config.auth.login_lockout_s) = (3, 60);
        (clock.clone(), LoginThrottle::new(ConfigHandle::new(config), clock))
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn fail(throttle: &LoginThrottle, address: &str, times: usize) {
        for _ in 0..times {
            drop(throttle.begin(ip(address)).unwrap());
        }
    }

    #[test]
    fn an_address_is_locked_out_after_its_failures_and_another_is_not() {
        let (_, throttle) = throttle();
        fail(&throttle, "9.9.9.9", 3);

        assert_eq!(throttle.begin(ip("9.9.9.9")).unwrap_err(), Duration::from_secs(60));
        assert!(throttle.begin(ip("9.9.9.8")).is_ok());
    }

    #[test]
    fn each_series_of_failures_locks_for_twice_as_long() {
        let (clock, throttle) = throttle();
        fail(&throttle, "9.9.9.9", 3);
        clock.advance(Duration::from_secs(60));
        fail(&throttle, "9.9.9.9", 3);

        assert_eq!(throttle.begin(ip("9.9.9.9")).unwrap_err(), Duration::from_secs(120));
    }

    #[test]
    fn a_success_clears_and_an_undecided_attempt_does_not_count() {
        let (_, throttle) = throttle();
        fail(&throttle, "9.9.9.9", 2);
        throttle.begin(ip("9.9.9.9")).unwrap().undecided();
        throttle.begin(ip("9.9.9.9")).unwrap().succeeded();

        fail(&throttle, "9.9.9.9", 3);

        assert!(throttle.begin(ip("9.9.9.9")).is_err());
    }

    #[test]
    fn failures_that_lie_a_window_apart_do_not_add_up() {
        let (clock, throttle) = throttle();
        for _ in 0..10 {
            fail(&throttle, "9.9.9.9", 2);
            clock.advance(Duration::from_secs(61));
        }

        assert!(throttle.begin(ip("9.9.9.9")).is_ok());
    }

    #[test]
    fn many_addresses_slow_the_account_down_for_a_moment_only() {
        let (clock, throttle) = throttle();
        for host in 0..30 {
            fail(&throttle, &format!("9.9.9.{host}"), 1);
        }

        assert_eq!(throttle.begin(ip("8.8.8.8")).unwrap_err(), Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        assert!(throttle.begin(ip("8.8.8.8")).is_ok());
    }

    #[test]
    fn a_locked_account_does_not_wash_an_address_clean() {
        let (clock, throttle) = throttle();
        fail(&throttle, "7.7.7.7", 2);
        for host in 0..28 {
            fail(&throttle, &format!("9.9.9.{host}"), 1);
        }
        assert!(throttle.begin(ip("7.7.7.7")).is_err(), "the account is slow for everybody");

        clock.advance(Duration::from_secs(1));
        fail(&throttle, "7.7.7.7", 1);

        assert_eq!(throttle.begin(ip("7.7.7.7")).unwrap_err(), Duration::from_secs(60));
    }

    #[test]
    fn who_is_locked_out_is_listed_and_can_be_let_in_again() {
        let (clock, throttle) = throttle();
        fail(&throttle, "9.9.9.9", 3);
        fail(&throttle, "9.9.9.8", 2);

        assert_eq!(throttle.locked(), [("9.9.9.9".to_owned(), Duration::from_secs(60))]);
        assert!(!throttle.unlock("9.9.9.8") && throttle.unlock("9.9.9.9"));

        assert!(throttle.locked().is_empty() && throttle.begin(ip("9.9.9.9")).is_ok());
        fail(&throttle, "9.9.9.7", 3);
        clock.advance(Duration::from_secs(60));
        assert!(throttle.locked().is_empty());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share_a_count() {
        let (_, throttle) = throttle();
        fail(&throttle, "2001:db8::1", 3);

        assert!(throttle.begin(ip("2001:db8::2")).is_err());
        assert!(throttle.begin(ip("2001:db8:0:1::1")).is_ok());
    }
}
