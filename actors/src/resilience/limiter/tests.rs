//! What a limiter lets pass, at which moments.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

fn tokens(per_minute: u64) -> Pace {
    Pace::new(0, Duration::ZERO, per_minute)
}

#[test]
fn a_minutes_worth_may_be_spent_at_once_and_comes_back_evenly() {
    let (limiter, pace) = (Limiter::default(), Pace::new(60, Duration::ZERO, 0));

    let burst = (0..100).filter(|_| limiter.take(&pace, 0, at(5_000)).is_ok()).count();

    assert_eq!(burst, 60);
    assert_eq!(limiter.take(&pace, 0, at(5_000)), Err(at(6_000)));
    assert!(limiter.take(&pace, 0, at(6_000)).is_ok());
    assert!(limiter.take(&pace, 0, at(6_000)).is_err());
}

#[test]
fn two_calls_keep_their_gap() {
    let (limiter, pace) = (Limiter::default(), Pace::new(0, Duration::from_millis(200), 0));
    limiter.take(&pace, 0, at(1_000)).unwrap();

    assert_eq!(limiter.take(&pace, 0, at(1_100)), Err(at(1_200)));
    assert!(limiter.take(&pace, 0, at(1_200)).is_ok());
}

#[test]
fn what_one_bucket_refuses_costs_the_others_nothing() {
    let (limiter, pace) = (Limiter::default(), Pace::new(2, Duration::ZERO, 100));
    limiter.take(&pace, 100, at(0)).unwrap();

    (0..50).for_each(|_| assert!(limiter.take(&pace, 100, at(0)).is_err()));

    assert!(limiter.take(&pace, 0, at(0)).is_ok(), "the second call of the minute is still there");
}

#[test]
fn a_call_larger_than_the_bucket_passes_when_the_bucket_is_full() {
    let (limiter, pace) = (Limiter::default(), tokens(1_000));

    assert!(limiter.take(&pace, 50_000, at(0)).is_ok());
    assert_eq!(limiter.take(&pace, 50_000, at(0)), Err(at(60_000)));
}

#[test]
fn too_high_an_estimate_comes_back_and_too_low_a_one_becomes_a_debt() {
    let (limiter, pace) = (Limiter::default(), tokens(1_000));
    let high = limiter.take(&pace, 1_000, at(0)).unwrap();
    limiter.true_up(&high, 400, at(0));
    let low = limiter.take(&pace, 600, at(0)).unwrap();

    limiter.true_up(&low, 1_600, at(0));

    assert_eq!(limiter.take(&pace, 1, at(0)), Err(at(60_060)), "a thousand of debt is a minute");
}

#[test]
fn a_call_that_was_never_sent_costs_nothing() {
    let (limiter, pace) = (Limiter::default(), Pace::new(1, Duration::from_secs(1), 10));
    let ticket = limiter.take(&pace, 10, at(0)).unwrap();

    limiter.give_back(&ticket, at(0));

    assert!(limiter.take(&pace, 10, at(0)).is_ok());
}

#[test]
fn a_wild_count_closes_a_connection_for_minutes_at_most() {
    let (limiter, pace) = (Limiter::default(), tokens(1_000));
    let ticket = limiter.take(&pace, 1, at(0)).unwrap();

    limiter.true_up(&ticket, u64::MAX, at(0));

    assert!(limiter.free_at(&pace, 0, at(0)) <= at(10 * 60_000));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Take { estimate: u64, actual: u64 },
    End(usize),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let take = (0u64..600, 0u64..600).prop_map(|(estimate, actual)| Step::Take { estimate, actual });
    let step = prop_oneof![2 => take, 1 => (0usize..8).prop_map(Step::End)];
    prop::collection::vec((0u64..20_000, step), 1..80)
}

proptest! {
    /// In any stretch of time no more passes than the burst and what comes back meanwhile.
    #[test]
    fn no_stretch_of_time_lets_more_pass_than_the_rate(
        asks in prop::collection::vec((0u64..3_000, 1u64..50), 1..150), per_minute in 50u64..2_000,
    ) {
        let (limiter, pace) = (Limiter::default(), tokens(per_minute));
        let (mut now, mut passed) = (0, Vec::new());
        for (wait, units) in asks {
            now += wait;
            match limiter.take(&pace, units, at(now)) {
                Ok(_) => passed.push((now, units)),
                Err(until) => {
                    prop_assert!(until > at(now));
                    prop_assert_eq!(limiter.free_at(&pace, units, at(now)), until);
                }
            }
        }
        for (first, (from, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (to, units) in &passed[first..] {
                sum += units;
                let most = per_minute as f64 * (1.0 + (to - from) as f64 / 60_000.0);
                prop_assert!(sum as f64 <= most + 1.0, "{sum} in {} ms", to - from);
            }
        }
    }

    /// Guessing and truing up never leaves a bucket emptier of claims than knowing would have.
    #[test]
    fn a_guess_that_is_trued_up_is_never_more_generous_than_the_truth(steps in steps()) {
        let (guessing, knowing, pace) = (Limiter::default(), Limiter::default(), tokens(1_000));
        let (mut now, mut open) = (0, Vec::new());
        for (wait, step) in steps {
            now += wait;
            match step {
                Step::Take { estimate, actual } if actual <= estimate => {
                    if let Ok(ticket) = guessing.take(&pace, estimate, at(now)) {
                        knowing.tokens.charge(pace.tokens.unwrap().cost(actual), ns(at(now)));
                        open.push((ticket, actual));
                    }
                }
                Step::Take { .. } => {}
                Step::End(index) if index < open.len() => {
                    let (ticket, actual) = open.swap_remove(index);
                    guessing.true_up(&ticket, actual, at(now));
                }
                Step::End(_) => {}
            }
            let due = |limiter: &Limiter| limiter.tokens.due.load(Ordering::Acquire).max(ns(at(now)));
            prop_assert!(due(&guessing) >= due(&knowing));
        }
    }

    /// A refusal names the moment at which the same question is answered with yes, if nobody else asks.
    #[test]
    fn a_refusal_tells_the_first_moment_that_works(takes in prop::collection::vec(1u64..400, 1..40), rpm in 1u32..30) {
        let (limiter, pace) = (Limiter::default(), Pace::new(rpm, Duration::from_millis(7), 1_000));
        let mut now = at(3);
        for units in takes {
            if let Err(until) = limiter.take(&pace, units, now) {
                prop_assert!(until > now);
                prop_assert!(limiter.take(&pace, units, until).is_ok());
                now = until;
            }
        }
    }
}
