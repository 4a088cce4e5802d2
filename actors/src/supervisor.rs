//! The registry: starts connection actors, watches them, re-creates any whose address died, and applies the
//! configured set.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message, MessageResult,
    ResponseActFuture, Supervised, Supervisor, WrapFuture,
};

use crate::connection::config::ConnectionConfig;
use crate::connection::handle::ConnectionHandle;
use crate::connection::report::Report;
use crate::connection::snapshot::Snapshot;
use crate::connection::{ApplyConfig, Connection, GetSnapshot, Outcomes};
use crate::guard::{Crashed, Rebuild, caught, guarded};
use crate::ids::{ConnectionId, ProviderId};
use crate::ports::{Ports, StateRecord};
use crate::resilience::gate::{BreakerState, GateView, Generation};
use crate::resilience::health::{Cooldown, Remembered};
use crate::resilience::learned::Learned;
use crate::resilience::lockout::{Lockout, Lockouts};
use crate::resilience::retry_budget::RetryBudget;

/// How often addresses are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How long a connection may take to answer a question of an operator.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);

/// The registry.
pub struct Registry {
    arbiter: ArbiterHandle,
    ports: Ports,
    handles: HashMap<ConnectionId, Arc<ConnectionHandle>>,
    was: HashMap<ConnectionId, StateRecord>,
    /// Lives as long as the process: a provider's budget is not refilled by a change of configuration.
    budgets: HashMap<ProviderId, Arc<RetryBudget>>,
}

impl Registry {
    /// A registry that starts its connections on that arbiter, in the state they were stored in.
    pub fn new(arbiter: ArbiterHandle, ports: Ports, stored: Vec<StateRecord>) -> Self {
        let was = stored.into_iter().map(|record| (record.connection.clone(), record)).collect();
        Self { arbiter, ports, handles: HashMap::new(), was, budgets: HashMap::new() }
    }

    fn launch(&self, handle: Arc<ConnectionHandle>) {
        let ports = self.ports.clone();
        let shared = Arc::clone(&handle);
        let address = Supervisor::start_in_arbiter(&self.arbiter, move |_| Connection::new(shared, ports));
        handle.set_address(address);
    }

    fn apply(&mut self, configs: Vec<ConnectionConfig>, own: &Addr<Self>) -> Vec<Arc<ConnectionHandle>> {
        let wanted: HashMap<_, _> = configs.into_iter().map(|config| (config.id.clone(), config)).collect();
        self.handles.retain(|id, _| wanted.contains_key(id));
        wanted.into_values().for_each(|config| drop(self.place(config, own)));
        self.all()
    }

    fn change(
        &mut self,
        ChangeConnections { put, gone }: ChangeConnections,
        own: &Addr<Self>,
    ) -> Vec<Arc<ConnectionHandle>> {
        gone.iter().for_each(|id| drop(self.handles.remove(id)));
        put.into_iter().for_each(|config| drop(self.place(config, own)));
        self.all()
    }

    fn all(&self) -> Vec<Arc<ConnectionHandle>> {
        let mut handles: Vec<_> = self.handles.values().cloned().collect();
        handles.sort_by(|a, b| a.id().cmp(b.id()));
        handles
    }

    /// A known connection is re-configured, an unknown one started.
    fn place(&mut self, config: ConnectionConfig, own: &Addr<Self>) -> Arc<ConnectionHandle> {
        if let Some(handle) = self.handles.get(&config.id).filter(|handle| *handle.provider() == config.provider) {
            match handle.address() {
                Some(address) => address.do_send(ApplyConfig(config)),
                None => handle.configure(config),
            }
            return Arc::clone(handle);
        }
        let stored = self.was.remove(&config.id);
        let handle = Arc::new(resumed(config, stored.as_ref(), &self.ports, Some(own.clone())));
        handle.join_budget(Arc::clone(self.budgets.entry(handle.provider().clone()).or_default()));
        self.launch(Arc::clone(&handle));
        self.handles.insert(handle.id().clone(), Arc::clone(&handle));
        handle
    }

    fn revive(&self, id: &ConnectionId, reports: Vec<Report>) {
        let Some(handle) = self.handles.get(id) else { return };
        if handle.address().is_none() {
            tracing::error!(connection.id = %id, "a connection actor was gone and is started again");
            self.launch(Arc::clone(handle));
        }
        if let Some(address) = handle.address().filter(|_| !reports.is_empty()) {
            address.do_send(Outcomes(reports));
        }
    }

    fn watch(&self) {
        self.handles.keys().for_each(|id| self.revive(id, Vec::new()));
    }
}

/// The handle of a connection that begins with what the store has of it.
pub(crate) fn resumed(
    config: ConnectionConfig,
    stored: Option<&StateRecord>,
    ports: &Ports,
    registry: Option<Addr<Registry>>,
) -> ConnectionHandle {
    let learned = stored.map_or_else(Learned::default, |record| Learned::restore(&record.learned, ports.clock.both()));
    let (gate, was) = match stored {
        Some(record) => restored(record, ports),
        None => (GateView::CLOSED, Remembered { since: ports.clock.now(), ..Remembered::default() }),
    };
    let handle = ConnectionHandle::new(config, gate, was, registry);
    handle.remember_limits(learned);
    handle
}

/// Stored wall times become moments of this process. What ended meanwhile is over.
fn restored(record: &StateRecord, ports: &Ports) -> (GateView, Remembered) {
    let now = ports.clock.both();
    let not_before = record.open_until.map_or(now.moment, |until| now.to_moment(until));
    let generation = Generation::from_number(record.generation).next();
    let gate = match record.breaker {
        // A probe that was out died with its process: the next caller takes its place.
        BreakerState::Open | BreakerState::HalfOpen => GateView { state: BreakerState::Open, not_before, generation },
        state => GateView { state, generation, ..GateView::CLOSED },
    };
    let locked = record.lockouts.iter().map(|row| {
        let (until, since) = (now.to_moment(row.until), now.to_moment(row.since));
        (row.model.clone(), Lockout { until, since, failures: row.failures })
    });
    let was = Remembered {
        cooldown: record.cooldown.map(|(until, reason)| Cooldown { until: now.to_moment(until), reason }),
        level: record.level,
        consecutive: record.consecutive,
        cycles: record.cycles,
        lockouts: Lockouts::restore(locked),
        terminal: record.terminal,
        since: now.to_moment(record.since),
        last_error: record.last_error.clone().map(|(at, note)| (now.to_moment(at), note)),
        attention: record.attention.clone().map(|(at, note)| (now.to_moment(at), note)),
        counts: Default::default(),
    };
    (gate, was)
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
        ctx.run_interval(WATCH_EVERY, |registry, ctx| {
            let _ = guarded(registry, ctx, "watch", |registry| registry.watch());
        });
    }
}

impl Supervised for Registry {}

impl Rebuild for Registry {
    /// Handles are shared and whole at any time: nothing to throw away.
    fn rebuild(&mut self) {}

    fn label(&self) -> String {
        "registry".into()
    }
}

/// These are the connections from now on. The answer lists their handles.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Arc<ConnectionHandle>>, Crashed>")]
pub struct ApplyConnections(pub Vec<ConnectionConfig>);

impl Handler<ApplyConnections> for Registry {
    type Result = MessageResult<ApplyConnections>;

    fn handle(&mut self, ApplyConnections(configs): ApplyConnections, ctx: &mut Self::Context) -> Self::Result {
        let own = ctx.address();
        MessageResult(guarded(self, ctx, "ApplyConnections", |registry| registry.apply(configs, &own)))
    }
}

/// These connections are new or other from now on, and those are gone; the rest stays. The answer lists all handles.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Arc<ConnectionHandle>>, Crashed>")]
pub struct ChangeConnections {
    /// New, or in the place of those with the same ids.
    pub put: Vec<ConnectionConfig>,
    /// Not there any more.
    pub gone: Vec<ConnectionId>,
}

impl Handler<ChangeConnections> for Registry {
    type Result = MessageResult<ChangeConnections>;

    fn handle(&mut self, change: ChangeConnections, ctx: &mut Self::Context) -> Self::Result {
        let own = ctx.address();
        MessageResult(guarded(self, ctx, "ChangeConnections", |registry| registry.change(change, &own)))
    }
}

/// This connection did not take its reports.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Revive {
    /// Which.
    pub id: ConnectionId,
    /// What it missed.
    pub reports: Vec<Report>,
}

impl Handler<Revive> for Registry {
    type Result = ();

    fn handle(&mut self, Revive { id, reports }: Revive, ctx: &mut Self::Context) {
        let _ = guarded(self, ctx, "Revive", |registry| registry.revive(&id, reports));
    }
}

/// How are these? One that does not answer in time is shown as it last published itself, one that is not there not at all.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<Snapshot>")]
pub struct GetSnapshots {
    /// Who is asked. Each is a message: for sums over all there is [`Snapshot::published`].
    pub of: Vec<ConnectionId>,
}

/// Are you there?
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

impl Handler<Ping> for Registry {
    type Result = ();

    /// It shares its thread with all connections: while it answers, none of them is stuck.
    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

impl Handler<GetSnapshots> for Registry {
    type Result = ResponseActFuture<Self, Vec<Snapshot>>;

    fn handle(&mut self, GetSnapshots { of }: GetSnapshots, _: &mut Self::Context) -> Self::Result {
        let clock = Arc::clone(&self.ports.clock);
        let asked: Vec<_> = of.iter().filter_map(|id| self.handles.get(id).cloned()).collect();
        let answers = async move {
            // One that cannot be looked at is left out; the others are shown all the same.
            let each = asked.iter().map(|handle| caught("GetSnapshots", ask(handle, clock.as_ref())));
            futures_util::future::join_all(each).await
        };
        Box::pin(answers.into_actor(self).map(|answers, _, _| {
            let mut snapshots: Vec<_> = answers.into_iter().flatten().collect();
            snapshots.sort_by(|a, b| (&a.provider, &a.name, &a.id).cmp(&(&b.provider, &b.name, &b.id)));
            snapshots
        }))
    }
}

async fn ask(handle: &ConnectionHandle, clock: &dyn crate::clock::Clock) -> Snapshot {
    if let Some(address) = handle.address()
        && let Ok(Ok(snapshot)) = address.send(GetSnapshot).timeout(ANSWER_WITHIN).await
    {
        return snapshot;
    }
    Snapshot { stale: true, ..Snapshot::published(handle, clock.both()) }
}

#[cfg(test)]
#[cfg(not(feature = "loom"))]
mod tests {
    use super::*;
    use crate::guard::fault;
    use crate::resilience::outcome::Outcome;
    use crate::testing::{Rig, config, settle};

    /// Kill the actor of the connection; its address is dead then.
    async fn let_go(rig: &Rig) {
        rig.connection("a").address().unwrap().do_send(crate::connection::tests::Die);
        settle().await;
        assert!(rig.connection("a").address().is_none());
    }

    async fn shown(rig: &Rig) -> Vec<String> {
        let of = ["a", "b", "c"].map(ConnectionId::from).to_vec();
        let asked = rig.registry.send(GetSnapshots { of });
        let answered = tokio::time::timeout(ANSWER_WITHIN * 2, asked).await.expect("the registry answers").unwrap();
        answered.iter().map(|snapshot| snapshot.id.to_string()).collect()
    }

    #[actix::test]
    async fn a_panic_while_connections_are_applied_refuses_that_change_and_takes_the_next() {
        let rig = Rig::start(vec![config("a")]).await;
        fault::arm("ApplyConnections");

        let lost = rig.registry.send(ApplyConnections(vec![config("a"), config("b")])).await.unwrap();
        let between = shown(&rig).await;
        let taken = rig.registry.send(ApplyConnections(vec![config("a"), config("c")])).await.unwrap();

        assert!(lost.is_err());
        assert_eq!((between, taken.unwrap().len()), (vec!["a".to_owned()], 2));
        assert_eq!(shown(&rig).await, ["a", "c"]);
    }

    #[actix::test]
    async fn a_change_touches_who_is_named_and_leaves_the_others_as_they_are() {
        let rig = Rig::start(vec![config("a"), config("b")]).await;
        let slots = |most| ConnectionConfig { max_concurrent: most, ..config("b") };

        let change = ChangeConnections { put: vec![slots(7), config("c")], gone: vec!["a".into(), "nobody".into()] };
        let handles = rig.registry.send(change).await.unwrap().unwrap();
        settle().await;

        let seen: Vec<_> =
            handles.iter().map(|handle| (handle.id().as_str(), handle.config().max_concurrent)).collect();
        assert_eq!(seen, [("b", 7), ("c", config("c").max_concurrent)]);
        assert!(Arc::ptr_eq(&handles[0], &rig.connection("b")), "it is the same connection as before");
        assert_eq!(shown(&rig).await, ["b", "c"]);
    }

    #[actix::test]
    async fn a_panic_while_a_connection_is_revived_loses_its_reports_and_the_next_reports_revive_it() {
        let rig = Rig::start(vec![config("a")]).await;
        let_go(&rig).await;
        fault::arm("Revive");

        rig.registry.send(Revive { id: "a".into(), reports: Vec::new() }).await.unwrap();
        let still_gone = rig.connection("a").address().is_none();
        rig.registry.send(Revive { id: "a".into(), reports: Vec::new() }).await.unwrap();

        assert!(still_gone && rig.connection("a").address().is_some());
        let mut permit = rig.connection("a").acquire(&"m".into(), &rig.clock()).unwrap();
        permit.settle(Outcome::Success);
    }

    #[actix::test]
    async fn a_panic_in_the_watch_ends_one_look_and_not_the_watch() {
        tokio::time::pause();
        let rig = Rig::start(vec![config("a")]).await;
        let_go(&rig).await;
        fault::arm("watch");

        tokio::time::sleep(WATCH_EVERY + Duration::from_millis(1)).await;
        let still_gone = rig.connection("a").address().is_none();
        tokio::time::sleep(WATCH_EVERY + Duration::from_millis(100)).await;

        assert!(still_gone, "the first look panicked");
        assert!(rig.connection("a").address().is_some(), "the second one was made");
    }

    #[actix::test]
    async fn a_panic_over_one_snapshot_leaves_that_one_out_and_no_other() {
        let rig = Rig::start(vec![config("a"), config("b")]).await;
        fault::arm("GetSnapshots");

        let first = shown(&rig).await;

        assert_eq!((first.len(), shown(&rig).await.len()), (1, 2));
    }
}
