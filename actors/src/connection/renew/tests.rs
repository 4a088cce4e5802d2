//! One actor and a scripted minter.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use super::*;
use crate::clock::{Clock, UnixMillis};
use crate::connection::ApplyConfig;
use crate::connection::tests::Die;
use crate::guard::fault;
use crate::ports::{Minter, Minting as Exchanging};
use crate::resilience::outcome::Terminal;
use crate::testing::{Rig, config, settle};

const HOUR: i64 = 3_600_000;

/// What the next mint brings.
#[derive(Clone, Copy)]
enum Next {
    Good,
    Rotates,
    Fails,
    Void,
    Away,
    Panics,
    Hangs,
}

thread_local! {
    static NEXT: RefCell<Next> = const { RefCell::new(Next::Good) };
    static EXCHANGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static SPENT: RefCell<Vec<Option<String>>> = const { RefCell::new(Vec::new()) };
}

/// Mints one token per permit and counts.
struct Scripted {
    gate: Semaphore,
    minted: AtomicUsize,
}

impl Scripted {
    fn new(permits: usize) -> Arc<Self> {
        NEXT.set(Next::Good);
        EXCHANGED.take();
        SPENT.take();
        Arc::new(Self { gate: Semaphore::new(permits), minted: AtomicUsize::new(0) })
    }

    fn count(&self) -> usize {
        self.minted.load(Ordering::SeqCst)
    }
}

impl Minter for Scripted {
    fn mint<'a>(&'a self, wanted: Wanted<'a>, now: UnixMillis) -> Exchanging<'a> {
        Box::pin(async move {
            let nth = self.minted.fetch_add(1, Ordering::SeqCst) + 1;
            EXCHANGED.with_borrow_mut(|all| all.push(wanted.exchange.credential.expose_secret().to_owned()));
            SPENT.with_borrow_mut(|all| all.push(wanted.spent.map(|spent| spent.expose_secret().to_owned())));
            self.gate.acquire().await.unwrap().forget();
            let replacement = match NEXT.with_borrow(Clone::clone) {
                Next::Good => None,
                Next::Rotates => Some(SecretString::from(format!("refresh-{nth}"))),
                Next::Fails => return Err(MintFailure::own(Outcome::AuthRefused, "no")),
                Next::Void => {
                    let void = MintFailure::own(Outcome::AuthRefused, "void");
                    return Err(MintFailure { is_final: true, ..void });
                }
                Next::Away => return Err(MintFailure::own(Outcome::ConnectFailed, "away")),
                Next::Panics => panic!("injected into the mint"),
                Next::Hangs => std::future::pending().await,
            };
            let value = SecretString::from(format!("Bearer t{nth}"));
            Ok(Minted { value, expires_at: UnixMillis(now.0 + HOUR), replacement })
        })
    }
}

fn exchanging(credential: &str, version: u64) -> ConnectionConfig {
    let exchange = Exchange {
        kind: 0,
        token_url: "http://127.0.0.1:1/token".into(),
        header: "authorization".into(),
        scope: None,
        credential: credential.into(),
    };
    ConnectionConfig { exchange: Some(Arc::new(exchange)), credential_version: version, ..config("a") }
}

async fn rig(minter: &Arc<Scripted>) -> Rig {
    Rig::minting(vec![exchanging("key", 1)], minter.clone()).await
}

async fn ask(rig: &Rig, seen: Option<u64>) -> Result<String, MintFailure> {
    let handle = rig.connection("a");
    let token = handle.fresh_token(&handle.config(), seen, rig.clock.now()).await?;
    Ok(token.value.expose_secret().to_owned())
}

#[actix::test]
async fn fifty_callers_at_once_are_answered_by_one_mint() {
    let minter = Scripted::new(0);
    let rig = rig(&minter).await;
    let callers = (0..50).map(|_| ask(&rig, None));
    let all = futures_util::future::join_all(callers);
    let release = async {
        settle().await;
        minter.gate.add_permits(10);
    };

    let (answers, ()) = futures_util::join!(all, release);

    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("Bearer t1")), "{answers:?}");
    assert_eq!(minter.count(), 1);
    assert_eq!(ask(&rig, None).await.as_deref(), Ok("Bearer t1"), "a valid token needs no mint");
    assert_eq!(minter.count(), 1);
}

#[actix::test]
async fn a_refused_token_is_replaced_once_however_many_saw_it_fail() {
    let minter = Scripted::new(10);
    let rig = rig(&minter).await;
    ask(&rig, None).await.unwrap();

    let answers = futures_util::future::join_all((0..20).map(|_| ask(&rig, Some(1)))).await;

    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("Bearer t2")), "{answers:?}");
    assert_eq!(minter.count(), 2);
}

#[actix::test]
async fn a_token_that_ends_soon_is_renewed_behind_the_caller_and_one_that_ended_before_him() {
    let minter = Scripted::new(10);
    let rig = rig(&minter).await;
    ask(&rig, None).await.unwrap();

    rig.clock.advance(Duration::from_secs(3_400));
    let meanwhile = ask(&rig, None).await;
    settle().await;
    let renewed = ask(&rig, None).await;
    rig.clock.advance(Duration::from_secs(3_601));
    let ended = ask(&rig, None).await;

    assert_eq!((meanwhile.as_deref(), renewed.as_deref()), (Ok("Bearer t1"), Ok("Bearer t2")));
    assert_eq!((ended.as_deref(), minter.count()), (Ok("Bearer t3"), 3));
}

#[actix::test]
async fn a_mint_that_fails_panics_or_hangs_answers_everybody_and_the_next_one_is_made() {
    tokio::time::pause();
    for (way, outcome) in [
        (Next::Fails, Outcome::AuthRefused),
        (Next::Panics, Outcome::GatewayFault),
        (Next::Hangs, Outcome::ConnectFailed),
    ] {
        let minter = Scripted::new(10);
        let rig = rig(&minter).await;
        NEXT.set(way);

        let failed = futures_util::future::join_all((0..5).map(|_| ask(&rig, None))).await;
        NEXT.set(Next::Good);
        let after = ask(&rig, None).await;

        assert!(failed.iter().all(|answer| answer.as_ref().is_err_and(|f| f.outcome == outcome)), "{failed:?}");
        assert_eq!((after.as_deref(), minter.count()), (Ok("Bearer t2"), 2));
    }
}

#[actix::test]
async fn a_panic_in_either_handler_answers_its_caller_and_the_next_one_is_served() {
    for handler in ["Renew", "Finished", "mint"] {
        let minter = Scripted::new(10);
        let rig = rig(&minter).await;
        fault::arm(handler);

        let lost = ask(&rig, None).await;
        settle().await;

        assert_eq!(lost.map_err(|failure| failure.outcome), Err(Outcome::GatewayFault), "{handler}");
        assert!(ask(&rig, None).await.is_ok(), "{handler}");
    }
}

#[actix::test]
async fn an_actor_that_dies_during_a_mint_leaves_nobody_waiting_and_is_there_again() {
    let minter = Scripted::new(0);
    let rig = rig(&minter).await;
    let kill = async {
        settle().await;
        rig.connection("a").address().unwrap().do_send(Die);
        settle().await;
        minter.gate.add_permits(10);
    };

    let (lost, ()) = futures_util::join!(ask(&rig, None), kill);
    let early = ask(&rig, None).await;
    settle().await;

    assert!(lost.is_err() && early.is_err());
    assert!(ask(&rig, None).await.is_ok());
}

#[actix::test]
async fn a_new_credential_ends_the_tokens_of_the_old_one() {
    let minter = Scripted::new(10);
    let rig = rig(&minter).await;
    ask(&rig, None).await.unwrap();
    let handle = rig.connection("a");
    let before = handle.config();

    let apply = |config| handle.address().unwrap().send(ApplyConfig(config));
    apply(exchanging("key", 1)).await.unwrap().unwrap();
    let kept = ask(&rig, None).await;
    apply(exchanging("other", 2)).await.unwrap().unwrap();
    let late = handle.fresh_token(&before, None, rig.clock.now()).await;
    let fresh = ask(&rig, None).await;

    assert_eq!((kept.as_deref(), fresh.as_deref()), (Ok("Bearer t1"), Ok("Bearer t2")));
    assert_eq!(late.map(|token| token.version), Err(MintFailure::replaced()));
    assert_eq!(EXCHANGED.take(), ["key", "other"]);
}

#[actix::test]
async fn a_credential_that_is_replaced_by_its_exchange_is_not_exchanged_twice() {
    let minter = Scripted::new(10);
    let rig = rig(&minter).await;
    NEXT.set(Next::Rotates);

    ask(&rig, None).await.unwrap();
    ask(&rig, Some(1)).await.unwrap();
    ask(&rig, Some(2)).await.unwrap();

    assert_eq!(EXCHANGED.take(), ["key", "refresh-1", "refresh-2"]);
}

#[actix::test]
async fn a_void_credential_ends_the_connection_at_once_and_a_new_one_brings_it_back() {
    let minter = Scripted::new(10);
    let rig = rig(&minter).await;
    NEXT.set(Next::Void);

    ask(&rig, None).await.unwrap_err();
    let ended = rig.connection("a").remembered().terminal;
    NEXT.set(Next::Good);
    let apply = ApplyConfig(exchanging("other", 2));
    rig.connection("a").address().unwrap().send(apply).await.unwrap().unwrap();

    assert_eq!(ended, Some(Terminal::Expired));
    assert_eq!(rig.connection("a").remembered().terminal, None);
    assert!(ask(&rig, None).await.is_ok());
}

#[actix::test]
async fn a_mint_that_fails_for_now_makes_the_connection_rest_unless_the_old_token_still_serves() {
    let minter = Scripted::new(10);
    let rig = rig(&minter).await;
    let resting = || rig.connection("a").remembered().cooldown.map(|cooldown| cooldown.reason);

    ask(&rig, None).await.unwrap();
    NEXT.set(Next::Away);
    ask(&rig, Some(1)).await.unwrap_err();
    let while_it_serves = resting();
    rig.clock.advance(Duration::from_secs(3_601));
    ask(&rig, None).await.unwrap_err();

    assert_eq!((while_it_serves, resting()), (None, Some(Outcome::ConnectFailed)));
    assert_eq!(rig.connection("a").remembered().terminal, None);
}

#[actix::test]
async fn the_minter_is_told_which_token_has_served_its_time() {
    let minter = Scripted::new(10);
    let rig = rig(&minter).await;

    ask(&rig, None).await.unwrap();
    ask(&rig, Some(1)).await.unwrap();

    assert_eq!(SPENT.take(), [None, Some("Bearer t1".to_owned())]);
}
