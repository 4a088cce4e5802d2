//! Two callers at a time, in every order that the memory model allows.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::*;

#[test]
fn of_two_callers_one_gets_the_last_cell() {
    loom::model(|| {
        let limiter = Arc::new(Limiter::default());
        let pace = Pace::new(1, Duration::ZERO, 0);
        let other = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || limiter.take(&pace, 0, Moment::START).is_ok())
        };

        let here = limiter.take(&pace, 0, Moment::START).is_ok();

        assert!(here != other.join().unwrap());
    });
}

#[test]
fn a_refund_and_a_charge_at_once_lose_nothing() {
    loom::model(|| {
        let limiter = Arc::new(Limiter::default());
        let pace = Pace::new(0, Duration::ZERO, 60);
        let first = limiter.take(&pace, 20, Moment::START).unwrap();
        let other = {
            let limiter = Arc::clone(&limiter);
            thread::spawn(move || limiter.true_up(&first, 10, Moment::START))
        };

        limiter.take(&pace, 30, Moment::START).unwrap();
        other.join().unwrap();

        assert_eq!(limiter.tokens.due.load(Ordering::Acquire), 40_000_000_000);
    });
}
