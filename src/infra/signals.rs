//! The signals that the process answers to.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End (SIGTERM).
    Stop,
    /// End, says a person at the keyboard (SIGINT).
    Interrupt,
    /// Read the configuration again (SIGHUP).
    Reload,
}

/// Listens from the moment it is made: a signal during the start is not lost.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hang_up: Stream,
}

impl Signals {
    /// Begin to listen. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    /// The next request to end; wishes to reload on the way are passed over.
    pub async fn stop(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::Reload => {}
                stop => return stop,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn each_signal_says_what_it_wants() {
        let mut signals = Signals::listen().unwrap();

        kill_process(getpid(), Number::HUP).unwrap();
        let reload = signals.next().await;
        kill_process(getpid(), Number::HUP).unwrap();
        kill_process(getpid(), Number::TERM).unwrap();
        let ended = signals.stop().await;
        kill_process(getpid(), Number::INT).unwrap();
        let interrupted = signals.stop().await;

        assert_eq!((reload, ended, interrupted), (Signal::Reload, Signal::Stop, Signal::Interrupt));
    }
}
