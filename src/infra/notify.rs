//! What the service manager is told (`Type=notify`). Without one, nothing happens.

use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;

/// The way to the service manager.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceManager;

impl ServiceManager {
    /// Everything is up.
    pub fn ready(self) {
        tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// The configuration is being read again; [`Self::ready`] ends it.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// One line for `systemctl status`.
    pub fn status(self, line: &str) {
        tell(&[NotifyState::Status(line)]);
    }

    /// Still alive.
    pub fn alive(self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// Going away, and it may take that long from now.
    pub fn stopping(self, at_most: Duration) {
        let more = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// How often [`Self::alive`] is expected at the latest.
    pub fn watchdog(self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|every| !every.is_zero())
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        let socket = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
        tracing::warn!(%error, ?socket, "the service manager does not listen");
    }
}
