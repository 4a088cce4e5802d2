//! Runs that go over to the start that takes this one's place in the same process. What they found out goes along; the
//! cases that were under way are asked again.

use std::sync::{Arc, OnceLock};

use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::progress::Progress;
use super::run::Target;
use super::suite::Suite;
use crate::auth::Principal;

/// A run without the start that worked on it.
pub(super) struct Leftover {
    pub(super) id: String,
    pub(super) operator: Arc<Principal>,
    pub(super) key: Option<String>,
    pub(super) suite: Arc<Suite>,
    pub(super) target: Target,
    pub(super) progress: Progress,
}

/// What one start inherits and who inherits from it.
pub struct Inheritance {
    sender: UnboundedSender<Leftover>,
    /// The workers take turns in waiting.
    waiting: Mutex<UnboundedReceiver<Leftover>>,
    heir: OnceLock<Arc<Self>>,
}

impl Default for Inheritance {
    fn default() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, waiting: Mutex::new(receiver), heir: OnceLock::new() }
    }
}

impl Inheritance {
    /// From now on what is left over goes there.
    pub(super) fn goes_to(&self, heir: &Arc<Self>) {
        // There is one successor; a second one would succeed the first.
        let _ = self.heir.set(Arc::clone(heir));
    }

    /// Whether somebody goes on with what is left over.
    pub(super) fn has_heir(&self) -> bool {
        self.heir.get().is_some()
    }

    /// Leave a run to the heir; false if there is none.
    pub(super) fn leave(&self, leftover: Leftover) -> bool {
        self.heir.get().is_some_and(|heir| heir.sender.send(leftover).is_ok())
    }

    /// The next run that somebody left to this start.
    pub(super) async fn next(&self) -> Option<Leftover> {
        self.waiting.lock().await.recv().await
    }
}
