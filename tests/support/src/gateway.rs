//! Starts the built gateway as its users do: a process with an environment, a data directory, signals and a log.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::admin::Admin;
use crate::http::{self, Request, Response};
use crate::proc;

pub use rustix::process::Signal;

/// The password that a harness signs in with unless the test chose another.
pub const PASSWORD: &str = "a long test password";

const START_WITHIN: Duration = Duration::from_secs(20);
const END_WITHIN: Duration = Duration::from_secs(30);

/// How a gateway is to be started.
#[derive(Debug)]
pub struct Builder {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    password: String,
    config: Option<String>,
    data_dir: Option<PathBuf>,
    ready_path: String,
}

impl Builder {
    /// Set one key of the configuration: `.set("upstream.connect_timeout", "1s")`.
    pub fn set(self, key: &str, value: &str) -> Self {
        let name = format!("OMNIROUTE__{}", key.to_uppercase().replace('.', "__"));
        self.env(&name, value)
    }

    /// Set an environment variable; a later one of the same name wins.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Add an argument of the command line.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sign in with this password instead of `PASSWORD`.
    pub fn password(mut self, password: &str) -> Self {
        self.password = password.into();
        self
    }

    /// The text of `config.toml` in the working directory.
    pub fn config_file(mut self, text: &str) -> Self {
        self.config = Some(text.into());
        self
    }

    /// A data directory that the test owns; it outlives the gateway.
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// The path that answers 200 once the gateway serves.
    pub fn ready_path(mut self, path: &str) -> Self {
        self.ready_path = path.into();
        self
    }

    /// Start and wait until it is ready.
    ///
    /// # Panics
    /// With the log, when it is not ready within 20 seconds or ends before.
    pub async fn start(self) -> Gateway {
        self.try_start().await.unwrap_or_else(|failure| {
            panic!("the gateway did not start ({:?}); its log:\n{}", failure.status, failure.log)
        })
    }

    /// Start and wait until it is ready, or say how it failed.
    pub async fn try_start(self) -> Result<Gateway, Failure> {
        let home = tempfile::tempdir().expect("a temporary directory");
        if let Some(text) = &self.config {
            fs::write(home.path().join("config.toml"), text).expect("a configuration file");
        }
        let (addr, reservation) = reserve();
        let data_dir = self.data_dir.clone().unwrap_or_else(|| home.path().join("data"));
        let log = home.path().join("gateway.log");
        let child = spawn(&self, home.path(), addr, &data_dir, &log);
        let mut gateway = Gateway { addr, data_dir, builder: self, log, child, home, _reservation: reservation };
        gateway.ready().await?;
        Ok(gateway)
    }
}

/// How a start failed.
#[derive(Debug)]
pub struct Failure {
    /// How the process ended, or nothing if it ran without ever being ready.
    pub status: Option<ExitStatus>,
    /// Everything it printed.
    pub log: String,
}

/// A running gateway. Dropping it kills the process.
#[derive(Debug)]
pub struct Gateway {
    /// Where it listens; restarts keep it.
    pub addr: SocketAddr,
    /// Where its database is; restarts keep it.
    pub data_dir: PathBuf,
    builder: Builder,
    log: PathBuf,
    child: Child,
    home: TempDir,
    /// Bound and never listening, so that no other test is given this port while the gateway is down.
    _reservation: TcpSocket,
}

impl Gateway {
    /// For the program at this path: `Gateway::builder(env!("CARGO_BIN_EXE_omniroute"))`.
    pub fn builder(program: impl Into<PathBuf>) -> Builder {
        Builder {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            password: PASSWORD.into(),
            config: None,
            data_dir: None,
            ready_path: "/readyz".into(),
        }
    }

    /// Sign in to the management API.
    pub async fn admin(&self) -> Admin {
        Admin::login(self.addr, &self.builder.password).await
    }

    /// Ask once, on a connection of its own.
    ///
    /// # Panics
    /// When no whole answer comes.
    pub async fn ask(&self, request: &Request) -> Response {
        let answer = http::request(self.addr, request).await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}; the gateway's log:\n{}", self.log()))
    }

    /// Ask for a stream, on a connection of its own.
    ///
    /// # Panics
    /// When no head comes.
    pub async fn stream(&self, request: &Request) -> http::Stream {
        let stream = http::stream(self.addr, request).await;
        stream.unwrap_or_else(|error| panic!("no answer: {error}; the gateway's log:\n{}", self.log()))
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now.
    pub fn rss_bytes(&self) -> u64 {
        proc::rss_bytes(self.pid()).expect("a running gateway")
    }

    /// Processor time used since the process started.
    pub fn cpu_ms(&self) -> u64 {
        proc::cpu_ms(self.pid()).expect("a running gateway")
    }

    /// Everything it printed so far, restarts included.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The working directory, where `config.toml` is read.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Replace `config.toml`; a `Signal::HUP` makes the gateway read it.
    pub fn rewrite_config(&self, text: &str) {
        fs::write(self.home.path().join("config.toml"), text).expect("a configuration file");
    }

    /// Send a signal to the process. After `Signal::STOP` it really stands still: its threads stop one after another.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a running gateway");
        let deadline = Instant::now() + Duration::from_secs(5);
        while signal == Signal::STOP && !proc::is_stopped(self.pid()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Wait for the end of the process.
    ///
    /// # Panics
    /// With the log, when it does not end within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the gateway still runs; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// End it by SIGTERM and start it again on the same port and data.
    pub async fn restart(&mut self) {
        self.signal(Signal::TERM);
        self.ended(END_WITHIN).await;
        self.start_again().await;
    }

    /// End it by SIGKILL and start it again on the same port and data.
    pub async fn kill_and_restart(&mut self) {
        self.kill().await;
        self.start_again().await;
    }

    /// End it by SIGKILL.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended(END_WITHIN).await;
    }

    /// Start a process that has ended, on the same port and data.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.builder, self.home.path(), self.addr, &self.data_dir, &self.log);
        if let Err(failure) = self.ready().await {
            panic!("the gateway did not start again ({:?}); its log:\n{}", failure.status, failure.log);
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_WITHIN;
        let question = Request::get(&self.builder.ready_path);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return Err(Failure { status: Some(status), log: self.log() });
            }
            let answer = tokio::time::timeout(Duration::from_secs(1), http::request(self.addr, &question)).await;
            if matches!(answer, Ok(Ok(response)) if response.status() == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Err(Failure { status: None, log: self.log() })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that a program can bind (if it sets SO_REUSEADDR) and that nobody else is given meanwhile.
///
/// # Panics
/// When the machine gives no port.
pub fn reserve() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket option");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    (socket.local_addr().expect("a bound socket"), socket)
}

/// The environment is emptied first: a provider key of the developer's shell must not become a connection.
#[expect(clippy::disallowed_methods, reason = "the harness exists to start the gateway as a process")]
fn spawn(builder: &Builder, home: &Path, addr: SocketAddr, data_dir: &Path, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log file");
    let errors = log.try_clone().expect("a log file");
    let mut command = std::process::Command::new(&builder.program);
    command.args(&builder.args).current_dir(home).stdin(std::process::Stdio::null()).stdout(log).stderr(errors);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
    command.env("HOST", "127.0.0.1").env("PORT", addr.port().to_string()).env("DATA_DIR", data_dir);
    command.env("INITIAL_PASSWORD", &builder.password).env("RUST_BACKTRACE", "1");
    command.env("OMNIROUTE__UPSTREAM__ALLOW_PRIVATE_HOSTS", "127.0.0.1:*");
    // Many unoptimised gateways on few cores are late without being overloaded.
    command.env("OMNIROUTE__OVERLOAD__MAX_LAG_MS", "0");
    command.envs(builder.env.iter().map(|(name, value)| (name, value)));
    command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", builder.program.display()))
}
