//! The demo provider: a small OpenAI-compatible server inside the process, so that the first minute needs no account.
//!
//! It listens on a loopback port of its own and is reached through the normal provider path, connections, breakers and
//! all. `demo-steady` always works. `demo-flaky` misbehaves now and then, by a seeded sequence, so that failovers show.
//! Faults can be switched per request (`x-demo-fault`) or per account (`POST /demo/faults`).

mod chat;
mod faults;
mod json;
mod server;
mod stream;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use actix_web::dev::ServerHandle;

/// The provider's id.
pub const PROVIDER_ID: &str = "demo";
/// The provider's name.
pub const PROVIDER_NAME: &str = "Demo provider";
/// The combo over both connections.
pub const COMBO_NAME: &str = "demo";
/// The combo's strategy.
pub const COMBO_STRATEGY: &str = "priority";
/// The models it serves; the first one is the default.
pub const MODELS: [&str; 2] = ["demo-small", "demo-large"];
/// The account that always works.
pub const STEADY: &str = "demo-steady";
/// The account that misbehaves now and then.
pub const FLAKY: &str = "demo-flaky";

/// One connection to the demo provider, as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoConnection {
    /// Its name.
    pub name: &'static str,
    /// Its key. It opens nothing but the demo provider.
    pub api_key: &'static str,
    /// Lower is tried first.
    pub priority: u32,
}

/// The connections, in the order in which the combo tries them: the flaky one first, or no failover would be seen.
#[must_use]
pub const fn connections() -> [DemoConnection; 2] {
    [
        DemoConnection { name: FLAKY, api_key: FLAKY, priority: 1 },
        DemoConnection { name: STEADY, api_key: STEADY, priority: 2 },
    ]
}

/// How the demo provider behaves.
#[derive(Debug, Clone, Copy)]
pub struct DemoOptions {
    /// The same seed gives the same sequence of faults.
    pub seed: u64,
    /// How many of a hundred requests to the flaky account fail.
    pub failure_percent: u8,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self { seed: 20_128, failure_percent: 30 }
    }
}

/// The running demo provider.
#[derive(Debug)]
pub struct DemoServer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Stops it; dropping it does not.
    pub handle: ServerHandle,
}

impl DemoServer {
    /// The base URL for a connection, with the `/v1` that OpenAI clients expect.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Stop it at once.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

/// Namespace of [`Demo::start`].
#[derive(Debug, Clone, Copy)]
pub struct Demo;

impl Demo {
    /// Start on a free loopback port. Must be called inside an actix system.
    pub fn start(options: DemoOptions) -> std::io::Result<DemoServer> {
        server::start(options)
    }
}
