//! The listener: actix-web with the settings that its defaults get wrong for a gateway of long streams.

mod closing;
mod door;

pub use closing::Closing;
pub use door::Door;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::Supervisor;
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App as WebApp, HttpServer};
use omniroute_actors::router::Router;

use crate::app::App;
use crate::config::Server as Settings;
use crate::evals;
use crate::infra::metrics::Metrics;
use crate::infra::overload;
use crate::routes::{self, Management};

/// How long the listener may take to close behind the drain, which ends earlier by itself.
const BEHIND_THE_DRAIN: u64 = 10;

/// A bound listener that does not run yet.
pub struct Bound {
    /// To be awaited.
    pub server: Server,
    /// What it listens on.
    pub door: Door,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Bind the configured address, or take the place of another server at this door. Must be called inside an actix system.
///
/// # Errors
/// When the address cannot be had; the message names it.
pub fn bind(app: &App, management: &Management, metrics: &Arc<Metrics>, door: Option<Door>) -> io::Result<Bound> {
    let settings = app.config.load().server.clone();
    let (app, management, metrics) = (app.clone(), management.clone(), Arc::clone(metrics));
    let workers = workers(&settings);
    let config = app.config.clone();
    let worker = move || {
        let (plan, clock) = (Arc::clone(&app.plan), Arc::clone(&app.clock));
        metrics.handles().install();
        overload::watch(Arc::clone(&app.overload), app.config.clone());
        // A replica of the router for each worker: a message to it crosses no thread.
        let router = Data::new(Supervisor::start(move |_| Router::new(plan, clock)));
        actix_rt::spawn(evals::take_over(Data::new(app.clone()), router.clone()));
        WebApp::new()
            .app_data(router)
            .app_data(Data::from(Arc::clone(&metrics)))
            .wrap(from_fn(routes::edge))
            .wrap(Closing::new(Arc::clone(&app.lifecycle)))
            .configure(|config| routes::mount(config, app.clone(), management.clone(), routes::routes()))
    };
    let mut server = HttpServer::new(worker)
        .workers(workers)
        // Off: a client that hangs up before its answer began would be paid for to the end.
        .h1_allow_half_closed(false)
        // On: without it each small event waits 40 ms for the client's acknowledgement.
        .tcp_nodelay(true)
        .on_connect(move |connection, _| door::bound(connection, config.load().deadlines.write_stall_ms))
        .keep_alive(Duration::from_secs(settings.keep_alive_s))
        .client_request_timeout(Duration::from_millis(settings.body_read_timeout_ms))
        // Per worker in actix, for the whole process in the configuration.
        .max_connections(settings.max_connections.div_ceil(workers))
        .shutdown_timeout(longest_stop(&settings))
        .disable_signals();
    let place = format!("{}:{}", settings.host, settings.port);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {place}: {error}"));
    let opened = door.map_or_else(|| Door::open((settings.host.as_str(), settings.port)), Ok);
    let door = opened.map_err(named)?;
    for listener in door.listeners().map_err(named)? {
        server = server.listen(listener).map_err(named)?;
    }
    let address = server.addrs().first().copied();
    let address = address.ok_or_else(|| named(io::Error::other("it has no address")))?;
    Ok(Bound { server: server.run(), door, address })
}

fn workers(settings: &Settings) -> usize {
    if settings.workers > 0 { settings.workers } else { std::thread::available_parallelism().map_or(2, usize::from) }
}

fn longest_stop(settings: &Settings) -> u64 {
    settings.drain_timeout_s + settings.drain_delay_ms / 1_000 + BEHIND_THE_DRAIN
}
