//! Who works in the background: the runs of this process, counted by owner, each with a way to stop it.
//!
//! A run itself lives on the worker that let it in; this actor only knows of it. What is durable about a run, its status
//! and its result, is the store's: a run that is unknown here may go on in another process. What a run says on the way is
//! kept as long as it runs, for everybody who follows it.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, Supervised};
use tokio::sync::{oneshot, watch};

/// What a run said so far, piece by piece.
pub type Said = Vec<Arc<str>>;

/// The runs of this process.
#[derive(Default)]
pub struct BackgroundRuns(HashMap<String, Run>);

struct Run {
    owner: String,
    /// Gone once it was told to stop.
    stop: Option<oneshot::Sender<()>>,
    said: watch::Receiver<Said>,
}

impl Actor for BackgroundRuns {
    type Context = Context<Self>;
}

impl Supervised for BackgroundRuns {}

/// Let a run begin, if there is room for it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<RunTicket, NoRoom>")]
pub struct BeginRun {
    /// What it makes.
    pub id: String,
    /// For whom.
    pub owner: String,
    /// Runs of this owner at a time.
    pub most_of_owner: usize,
    /// Runs of all owners at a time.
    pub most: usize,
    /// Where it is to be counted.
    pub runs: Addr<BackgroundRuns>,
}

/// Why a run may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Its owner has enough of them.
    #[error("this key has as many answers in the making as it may")]
    ForOwner,
    /// The process has.
    #[error("this gateway has as many answers in the making as it may")]
    AtAll,
}

/// Stop a run; says whether it is one of this process.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct StopRun {
    /// What it makes.
    pub id: String,
}

/// Hear what a run of this process said and will say; it closes when the run is over.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<watch::Receiver<Said>>")]
pub struct FollowRun {
    /// What it makes.
    pub id: String,
    /// Nobody else's.
    pub owner: String,
}

/// A run is over.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
struct RunEnded(String);

/// The right to run; it ends with its drop.
#[derive(Debug)]
pub struct RunTicket {
    id: String,
    runs: Addr<BackgroundRuns>,
    stopped: oneshot::Receiver<()>,
    said: watch::Sender<Said>,
}

impl RunTicket {
    /// Where the run says what it does. Those who follow it hear that it is over when this and the ticket are gone.
    pub fn voice(&self) -> watch::Sender<Said> {
        self.said.clone()
    }

    /// Follow the run.
    pub fn follow(&self) -> watch::Receiver<Said> {
        self.said.subscribe()
    }

    /// Resolves when the run shall stop. An actor that died stops nobody.
    pub async fn stopped(&mut self) {
        if (&mut self.stopped).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for RunTicket {
    fn drop(&mut self) {
        self.runs.do_send(RunEnded(std::mem::take(&mut self.id)));
    }
}

impl BackgroundRuns {
    fn begin(&mut self, asked: BeginRun) -> Result<RunTicket, NoRoom> {
        let BeginRun { id, owner, most_of_owner, most, runs } = asked;
        if self.0.len() >= most {
            return Err(NoRoom::AtAll);
        }
        if self.0.values().filter(|run| run.owner == owner).count() >= most_of_owner {
            return Err(NoRoom::ForOwner);
        }
        let (stop, stopped) = oneshot::channel();
        let (voice, said) = watch::channel(Said::new());
        self.0.insert(id.clone(), Run { owner, stop: Some(stop), said });
        Ok(RunTicket { id, runs, stopped, said: voice })
    }
}

impl Handler<BeginRun> for BackgroundRuns {
    type Result = MessageResult<BeginRun>;

    fn handle(&mut self, msg: BeginRun, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.begin(msg))
    }
}

impl Handler<StopRun> for BackgroundRuns {
    type Result = bool;

    fn handle(&mut self, msg: StopRun, _: &mut Self::Context) -> bool {
        let Some(run) = self.0.get_mut(&msg.id) else { return false };
        // It is counted until it has really ended.
        run.stop.take().is_none_or(|stop| stop.send(()).is_ok())
    }
}

impl Handler<FollowRun> for BackgroundRuns {
    type Result = MessageResult<FollowRun>;

    fn handle(&mut self, msg: FollowRun, _: &mut Self::Context) -> Self::Result {
        let run = self.0.get(&msg.id).filter(|run| run.owner == msg.owner);
        MessageResult(run.map(|run| run.said.clone()))
    }
}

impl Handler<RunEnded> for BackgroundRuns {
    type Result = ();

    fn handle(&mut self, RunEnded(id): RunEnded, _: &mut Self::Context) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rig(Addr<BackgroundRuns>);

    impl Rig {
        fn new() -> Self {
            Self(BackgroundRuns::default().start())
        }

        async fn begin(&self, id: &str, owner: &str) -> Result<RunTicket, NoRoom> {
            let asked =
                BeginRun { id: id.into(), owner: owner.into(), most_of_owner: 2, most: 3, runs: self.0.clone() };
            self.0.send(asked).await.unwrap()
        }

        async fn stop(&self, id: &str) -> bool {
            self.0.send(StopRun { id: id.into() }).await.unwrap()
        }
    }

    #[actix::test]
    async fn an_owner_and_the_process_have_room_for_so_many_runs() {
        let rig = Rig::new();
        let _first = rig.begin("1", "me").await.unwrap();
        let second = rig.begin("2", "me").await.unwrap();

        assert_eq!(rig.begin("3", "me").await.unwrap_err(), NoRoom::ForOwner);
        let _third = rig.begin("4", "you").await.unwrap();
        assert_eq!(rig.begin("5", "they").await.unwrap_err(), NoRoom::AtAll);

        drop(second);
        assert!(rig.begin("6", "me").await.is_ok());
    }

    #[actix::test]
    async fn a_run_is_stopped_and_counted_until_it_has_ended() {
        let rig = Rig::new();
        let mut run = rig.begin("1", "me").await.unwrap();

        assert!(rig.stop("1").await && rig.stop("1").await);
        run.stopped().await;
        drop(run);

        assert!(!rig.stop("1").await);
    }

    #[actix::test]
    async fn a_run_is_followed_by_its_owner_from_its_first_word_to_its_end() {
        let rig = Rig::new();
        let run = rig.begin("1", "me").await.unwrap();
        let follow = async |owner: &str| rig.0.send(FollowRun { id: "1".into(), owner: owner.into() }).await.unwrap();
        run.voice().send_modify(|said| said.push("first".into()));

        let mut followed = follow("me").await.unwrap();
        run.voice().send_modify(|said| said.push("second".into()));

        assert!(follow("you").await.is_none());
        assert_eq!(*followed.borrow_and_update(), ["first".into(), "second".into()]);
        drop(run);
        assert!(follow("me").await.is_none() && followed.changed().await.is_err());
    }
}
