//! A scripted OpenAI-compatible upstream on bare TCP, for tests (in the process) and benchmarks (as a program).
//!
//! It can be healthy, cheap and fast, and it can be broken in every way of `behaviour::Kind`. It counts what reaches it and
//! notices a client's hang-up within a moment, which is what most of our promises are measured by.
//!
//! The mock lives on threads of its own, so neither a busy test nor a paused clock changes what it does.

mod admin;
pub mod behaviour;
mod blackhole;
mod control;
mod gzip;
mod plan;
mod play;
mod record;
mod render;
mod request;
mod serve;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

pub use behaviour::{Behaviour, Kind};
pub use blackhole::Blackhole;
pub use control::{Account, Control, Counts, Stats};
pub use record::Recorded;

use serve::Worker;

/// Whether the mock accepts connections, and what it does with those it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// Connections are refused, idle ones closed; running answers go on.
    Refusing,
    /// Connections are refused, open ones reset.
    Crashed,
    /// The threads end.
    Stopped,
}

/// How a mock is started.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Threads that serve connections.
    pub workers: usize,
    /// How many of the last requests are kept with headers and body; 0 for benchmarks.
    pub kept_requests: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { port: 0, workers: 1, kept_requests: 256 }
    }
}

/// A running mock. Dropping it stops it.
#[derive(Debug)]
pub struct MockUpstream {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Scripts and counts.
    pub control: Arc<Control>,
    gate: watch::Sender<Gate>,
    listening: watch::Receiver<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl MockUpstream {
    /// Start on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When the machine gives no port.
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await.expect("a free port on 127.0.0.1")
    }

    /// Start as told.
    pub async fn start_with(settings: Settings) -> io::Result<Self> {
        let reservation = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port)))?;
        let addr = reservation.local_addr()?;
        let control = Arc::new(Control::new(settings.kept_requests));
        let gate = watch::Sender::new(Gate::Open);
        let (listening_sender, listening) = watch::channel(false);
        let (mut queues, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..settings.workers.max(1) {
            let (queue, connections) = mpsc::unbounded_channel();
            let (control, gate) = (control.clone(), gate.clone());
            queues.push(queue);
            threads.push(thread("mock-worker", move || work(Worker::new(control, gate), connections))?);
        }
        let mut door =
            Door { addr, gate: gate.subscribe(), listening: listening_sender, queues, _reservation: reservation };
        threads.push(thread("mock-door", async move || door.keep().await)?);
        let mut mock = MockUpstream { addr, control, gate, listening, threads };
        mock.reached(true).await;
        Ok(mock)
    }

    /// The base URL that a client is given.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Refuse new connections and close idle ones, as a server that is going away.
    pub async fn refuse(&mut self) {
        self.gate.send_replace(Gate::Refusing);
        self.reached(false).await;
    }

    /// Refuse new connections and reset all open ones, as a server that was killed.
    pub async fn crash(&mut self) {
        self.gate.send_replace(Gate::Crashed);
        self.reached(false).await;
    }

    /// Accept again on the same port.
    pub async fn listen_again(&mut self) {
        self.gate.send_replace(Gate::Open);
        self.reached(true).await;
    }

    /// End all threads and connections.
    pub async fn stop(mut self) {
        self.gate.send_replace(Gate::Stopped);
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| drop(thread.join())));
        drop(joined.await);
    }

    async fn reached(&mut self, listening: bool) {
        drop(self.listening.wait_for(|now| *now == listening).await);
    }
}

impl Drop for MockUpstream {
    fn drop(&mut self) {
        self.gate.send_replace(Gate::Stopped);
    }
}

/// The thread that accepts, and hands connections round to the workers.
///
/// The reservation is a second socket, bound but never listening: it keeps the port ours while nothing listens there, so a
/// refused connection cannot end up at another test's mock.
struct Door {
    addr: SocketAddr,
    gate: watch::Receiver<Gate>,
    listening: watch::Sender<bool>,
    queues: Vec<mpsc::UnboundedSender<std::net::TcpStream>>,
    _reservation: TcpSocket,
}

impl Door {
    async fn keep(&mut self) {
        loop {
            let Ok(gate) =
                self.gate.wait_for(|gate| matches!(gate, Gate::Open | Gate::Stopped)).await.map(|gate| *gate)
            else {
                return;
            };
            if gate == Gate::Stopped {
                return;
            }
            let listener = bound(self.addr).and_then(|socket| socket.listen(4096)).expect("our own port");
            self.listening.send_replace(true);
            self.accept(&listener).await;
            drop(listener);
            self.listening.send_replace(false);
        }
    }

    /// Accept until the gate closes.
    async fn accept(&mut self, listener: &TcpListener) {
        let mut turn = 0;
        loop {
            tokio::select! {
                biased;
                _ = self.gate.wait_for(|gate| *gate != Gate::Open) => return,
                accepted = listener.accept() => match accepted.and_then(|(stream, _)| stream.into_std()) {
                    Ok(stream) => drop(self.queues[turn % self.queues.len()].send(stream)),
                    // Out of descriptors: let some connections end instead of spinning.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                },
            }
            turn += 1;
        }
    }
}

async fn work(worker: Worker, mut connections: mpsc::UnboundedReceiver<std::net::TcpStream>) {
    let worker = Rc::new(worker);
    let mut gate = worker.gate.subscribe();
    let serving = async {
        while let Some(stream) = connections.recv().await {
            if let Ok(stream) = TcpStream::from_std(stream) {
                tokio::task::spawn_local(serve::connection(worker.clone(), stream));
            }
        }
    };
    tokio::select! {
        () = serving => {}
        _ = gate.wait_for(|gate| *gate == Gate::Stopped) => {}
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn thread<F: Future<Output = ()>>(name: &str, main: impl FnOnce() -> F + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, main());
    })
}
