//! Reads the command line and does what it says. Serving is told here from start to end: configure, build, run, drain.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use clap::Parser;
use omniroute::boot::{self, Booted};
use omniroute::cli::{Cli, CliError, Command};
use omniroute::commands;
use omniroute::config::{Environment, Loaded, Loader};
use omniroute::infra::drain::{self, Schedule};
use omniroute::infra::notify::ServiceManager;
use omniroute::infra::orders::Order;
use omniroute::infra::signals::{Signal, Signals};
use omniroute::infra::telemetry::{self, LogControl};
use omniroute::server::{self, Bound, Door};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The last answers may still be on their way to their clients when nothing is in flight any more.
const LAST_BYTES: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let loader = cli.loader(Environment::of_the_process());
    let done = match cli.command() {
        Command::Serve => serve(loader),
        command => {
            let mut answer = Vec::new();
            let done = commands::run(command, &loader, cli.json, &mut answer);
            print(&answer).map_err(CliError::from).and(done)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody to tell when standard error is closed.
            let _ = writeln!(io::stderr(), "{}", error.render(cli.json));
            ExitCode::from(&error)
        }
    }
}

/// Whoever has read enough closes the pipe; that is no failure.
fn print(text: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

fn serve(loader: Loader) -> Result<(), CliError> {
    let loaded = loader.load()?;
    let log = telemetry::start(&loaded.config.logging).map_err(failure)?;
    // A core dump would hold every key.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
    actix_rt::System::new().block_on(run(loader, loaded, log))
}

async fn run(loader: Loader, loaded: Loaded, log: LogControl) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let booted = tokio::select! {
        booted = boot::build(loader.clone(), loaded, log, None) => booted.map_err(failure)?,
        _ = signals.stop() => return Ok(()),
    };
    let mut serving = Serving::open(booted, None)?;
    serving.booted.carry_usage();
    let mut leaving = Vec::new();
    let asked = loop {
        match serving.until_asked(&mut signals).await? {
            Asked::Restart => {
                if let Some(before) = serving.succeed(&loader).await {
                    leaving.push(actix_rt::spawn(before.retire()));
                }
            }
            Asked::Stop(signal) => break signal,
        }
    };
    let schedule = serving.schedule();
    if asked == Signal::Interrupt && !schedule.is_hurried() {
        // Whether or not anybody can read it, the drain goes on.
        let _ = print(b"\ndraining, press Ctrl-C again to stop at once\n");
    }
    let in_flight = Arc::clone(&serving.booted.app.lifecycle);
    let left = async {
        serving.leave(schedule).await;
        // Earlier starts began to leave earlier and have the same time.
        futures_util::future::join_all(leaving).await;
    };
    tokio::select! {
        () = left => Ok(()),
        _ = signals.stop() => {
            tracing::warn!(in_flight = in_flight.in_flight(), "a second signal: ending at once");
            Err(CliError::Failure("ended at once by a second signal".to_owned()))
        }
    }
}

/// What somebody wants of the process.
enum Asked {
    Stop(Signal),
    Restart,
}

/// One start of the gateway with its listener.
struct Serving {
    booted: Booted,
    place: (String, u16),
    door: Door,
    handle: ServerHandle,
    server: actix_rt::task::JoinHandle<io::Result<()>>,
}

impl Serving {
    /// Serve from now on, at the door of another start if there is one at the same place.
    fn open(mut booted: Booted, before: Option<&Self>) -> Result<Self, CliError> {
        let settings = &booted.app.config.load().server;
        let place = (settings.host.clone(), settings.port);
        let shared = before.filter(|before| before.place == place).map(|before| before.door.shared()).transpose()?;
        let Bound { server, door, address } = server::bind(&booted.app, &booted.management, &booted.metrics, shared)?;
        let (handle, server) = (server.handle(), actix_rt::spawn(server));
        booted.app.lifecycle.ready();
        print(booted.welcome(address).text().as_bytes())?;
        ServiceManager.ready();
        tracing::info!(%address, "serving");
        Ok(Self { booted, place, door, handle, server })
    }

    async fn until_asked(&mut self, signals: &mut Signals) -> Result<Asked, CliError> {
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Signal::Reload => {
                        ServiceManager.reloading();
                        self.booted.reload().await;
                        ServiceManager.ready();
                    }
                    stop => return Ok(Asked::Stop(stop)),
                },
                order = self.booted.orders.next() => return Ok(match order {
                    Order::Restart => Asked::Restart,
                    Order::Shutdown => Asked::Stop(Signal::Stop),
                }),
                ended = &mut self.server => return Err(listener_ended(ended)),
            }
        }
    }

    /// Put a new start in the place of this one; answers with what leaves. Nothing changes when the new one does not start.
    async fn succeed(&mut self, loader: &Loader) -> Option<Self> {
        ServiceManager.reloading();
        let next = match self.booted.successor(loader).await {
            Ok(next) => Self::open(next, Some(self)).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match next {
            Ok(mut next) => {
                self.booted.hand_over(&mut next.booted).await;
                Some(std::mem::replace(self, next))
            }
            Err(error) => {
                tracing::error!(%error, "the restart is given up, everything stays as it is");
                self.booted.orders.over();
                ServiceManager.ready();
                None
            }
        }
    }

    /// Another start has taken over: nobody new comes here, and what runs may end.
    async fn retire(self) {
        let Self { booted, handle, server, .. } = self;
        // The door is the next start's as well: it stays open, only this server looks at it no more.
        handle.pause().await;
        let config = booted.app.config.load_full();
        let timeout = Duration::from_secs(config.server.drain_timeout_s);
        let schedule = Schedule::new(booted.app.clock.now(), Duration::ZERO, timeout, false);
        drain::follow(schedule, &booted.app.lifecycle, &booted.app.clock, || ()).await;
        Self::close(booted, handle, server).await;
    }

    async fn leave(self, schedule: Schedule) {
        let Self { booted, door, handle, server, .. } = self;
        let stop_accepting = || drop(actix_rt::spawn(door.close(handle.clone())));
        drain::run(schedule, &booted.app.lifecycle, &booted.app.clock, stop_accepting).await;
        Self::close(booted, handle, server).await;
    }

    async fn close(booted: Booted, handle: ServerHandle, server: actix_rt::task::JoinHandle<io::Result<()>>) {
        // Only now, for a stopping worker closes connections whose first request it has not read yet. Whoever has not read
        // its last bytes by then has gone.
        drop(actix_rt::spawn(handle.stop(true)));
        let _ = tokio::time::timeout(LAST_BYTES, server).await;
        booted.finish().await;
    }

    /// A person who presses Ctrl-C while nothing runs has no load balancer that must notice first.
    fn schedule(&self) -> Schedule {
        let (app, config) = (&self.booted.app, self.booted.app.config.load());
        let hurry = io::stdin().is_terminal() && app.lifecycle.in_flight() == 0;
        let delay = Duration::from_millis(config.server.drain_delay_ms);
        let timeout = Duration::from_secs(config.server.drain_timeout_s);
        Schedule::new(app.clock.now(), delay, timeout, hurry)
    }
}

fn listener_ended(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> CliError {
    let why = match ended {
        Ok(Ok(())) => "nobody asked it to".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    CliError::Failure(format!("the listener ended: {why}"))
}

fn failure(error: impl std::fmt::Display) -> CliError {
    CliError::Failure(error.to_string())
}
