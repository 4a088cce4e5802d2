//! Reads the command line and does what it says. Serving is told here from start to end: configure, build, run, drain.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use omniroute::boot::{self, Booted};
use omniroute::cli::{Cli, CliError, Command};
use omniroute::commands;
use omniroute::config::{Environment, Loaded, Loader};
use omniroute::infra::drain::{self, Schedule};
use omniroute::infra::notify::ServiceManager;
use omniroute::infra::signals::{Signal, Signals};
use omniroute::infra::telemetry::{self, LogControl};
use omniroute::server::{self, Bound};
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
    let mut booted = tokio::select! {
        booted = boot::build(loader, loaded, log) => booted.map_err(failure)?,
        _ = signals.stop() => return Ok(()),
    };
    let Bound { server, door, address } = server::bind(&booted.app, &booted.management, &booted.metrics)?;
    let (handle, mut serving) = (server.handle(), actix_rt::spawn(server));
    booted.app.lifecycle.ready();
    print(booted.welcome(address).text().as_bytes())?;
    ServiceManager.ready();
    tracing::info!(%address, "serving");

    let asked = tokio::select! {
        asked = until_stopped(&mut signals, &booted) => asked,
        ended = &mut serving => return Err(listener_ended(ended)),
    };
    let schedule = schedule(&booted);
    if asked == Signal::Interrupt && !schedule.is_hurried() {
        // Whether or not anybody can read it, the drain goes on.
        let _ = print(b"\ndraining, press Ctrl-C again to stop at once\n");
    }
    let stop_accepting = || drop(actix_rt::spawn(door.close(handle.clone())));
    tokio::select! {
        () = drain::run(schedule, &booted.app.lifecycle, &booted.app.clock, stop_accepting) => {}
        _ = signals.stop() => {
            tracing::warn!(in_flight = booted.app.lifecycle.in_flight(), "a second signal: ending at once");
            return Err(CliError::Failure("ended at once by a second signal".to_owned()));
        }
    }
    // Only now, for a stopping worker closes connections whose first request it has not read yet. Whoever has not read its
    // last bytes by then has gone.
    drop(actix_rt::spawn(handle.stop(true)));
    let _ = tokio::time::timeout(LAST_BYTES, serving).await;
    booted.finish().await;
    Ok(())
}

async fn until_stopped(signals: &mut Signals, booted: &Booted) -> Signal {
    loop {
        match signals.next().await {
            Signal::Reload => {
                ServiceManager.reloading();
                booted.reload().await;
                ServiceManager.ready();
            }
            stop => return stop,
        }
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

/// A person who presses Ctrl-C while nothing runs has no load balancer that must notice first.
fn schedule(booted: &Booted) -> Schedule {
    let config = booted.app.config.load();
    let hurry = io::stdin().is_terminal() && booted.app.lifecycle.in_flight() == 0;
    let delay = Duration::from_millis(config.server.drain_delay_ms);
    let timeout = Duration::from_secs(config.server.drain_timeout_s);
    Schedule::new(booted.app.clock.now(), delay, timeout, hurry)
}

fn failure(error: impl std::fmt::Display) -> CliError {
    CliError::Failure(error.to_string())
}
