//! Panics end at the handler that met them.
//!
//! `actix::Supervisor` restarts an actor after `ctx.stop()` but never after a panic: its address would stay
//! dead and messages to it would vanish without a trace. So every handler body runs inside [`guarded`]: a
//! panic is caught, the half-changed private state is thrown away and rebuilt from what was published, and the
//! context is stopped so that the supervisor starts it again. Queued messages are kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::{Actor, ActorContext, Context, Supervised};
use futures_util::FutureExt;

/// An actor that can throw its private state away.
pub trait Rebuild: Actor<Context = Context<Self>> + Supervised {
    /// Rebuild the private state from what is published and stored.
    fn rebuild(&mut self);
    /// Names the actor in the log.
    fn label(&self) -> String;
}

/// The handler met a panic; its message is lost, the actor lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the actor failed on this message and was rebuilt")]
pub struct Crashed;

/// Run a handler body.
///
/// # Errors
/// [`Crashed`] when the body panicked.
pub fn guarded<A: Rebuild, R>(
    actor: &mut A,
    ctx: &mut Context<A>,
    handler: &'static str,
    body: impl FnOnce(&mut A) -> R,
) -> Result<R, Crashed> {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        fault::trip(handler);
        body(actor)
    }));
    ran.map_err(|_| {
        tracing::error!(actor = actor.label(), handler, "a handler panicked; its actor is rebuilt");
        actor.rebuild();
        ctx.stop();
        Crashed
    })
}

/// Run the part of a handler that waits. It changes no state of the actor, but the actor's context polls it: a panic
/// would end the context, and with it the address.
///
/// # Errors
/// [`Crashed`] when the body panicked.
pub async fn caught<R>(handler: &'static str, body: impl Future<Output = R>) -> Result<R, Crashed> {
    #[cfg(test)]
    let body = async {
        fault::trip(handler);
        body.await
    };
    AssertUnwindSafe(body).catch_unwind().await.map_err(|_| {
        tracing::error!(handler, "a part of a handler panicked; the rest of it goes on");
        Crashed
    })
}

/// Panics on demand, to prove all of the above. Not part of the built gateway.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::Cell;

    thread_local! {
        static ARMED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// The next run of that handler panics.
    pub(crate) fn arm(handler: &'static str) {
        ARMED.set(Some(handler));
    }

    pub(super) fn trip(handler: &'static str) {
        if ARMED.get() == Some(handler) {
            ARMED.set(None);
            panic!("injected into {handler}");
        }
    }
}
