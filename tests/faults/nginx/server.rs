//! The real nginx with the configuration that we ship; only its ports and paths are those of the test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use omniroute_testkit::gateway::{Signal, reserve};
use omniroute_testkit::http::Connection;
use omniroute_testkit::services;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;
use tokio::net::TcpSocket;

const SHIPPED: &str = include_str!("../../../scripts/deploy/nginx.conf");
const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx. Dropping it ends it.
pub struct Nginx {
    /// The plain listener.
    pub addr: SocketAddr,
    child: Child,
    home: TempDir,
    _reservations: Vec<TcpSocket>,
}

impl Nginx {
    /// In front of two instances; nothing, said loudly, on a machine without nginx.
    pub async fn start(instances: [SocketAddr; 2]) -> Option<Self> {
        let (nginx, openssl) = (services::program("nginx")?, services::program("openssl")?);
        let home = tempfile::tempdir().expect("a temporary directory");
        certificate(&openssl, home.path());
        let (ports, reservations): (Vec<_>, Vec<_>) = (0..3).map(|_| reserve()).unzip();
        let [plain, tls, redirect] = ports[..] else { unreachable!("three ports") };
        let file = home.path().join("nginx.conf");
        fs::write(&file, adapted(home.path(), [plain, tls, redirect], instances)).expect("a configuration file");
        let errors = fs::File::create(home.path().join("stderr")).expect("a log file");
        let child = command(&nginx)
            .arg("-p")
            .arg(home.path())
            .arg("-c")
            .arg(&file)
            .args(["-g", "daemon off;"])
            .stderr(errors)
            .spawn()
            .expect("nginx starts");
        let mut nginx = Nginx { addr: plain, child, home, _reservations: reservations };
        nginx.ready().await;
        Some(nginx)
    }

    /// Read the configuration again, as `systemctl reload nginx` does.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// What it complained about.
    pub fn complaints(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
        read("stderr") + &read("error.log")
    }

    async fn ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while Connection::open(self.addr).await.is_err() {
            let ended = self.child.try_wait().expect("our own child");
            assert!(ended.is_none() && Instant::now() < deadline, "nginx does not serve: {}", self.complaints());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        // A process that has gone already is what the callers want.
        let _ = kill_process(pid, signal);
    }
}

/// By SIGTERM: after a SIGKILL its worker processes would live on.
impl Drop for Nginx {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The shipped text with other ports and paths. Each of them must be in it, so that the test and the file cannot drift apart.
fn adapted(home: &Path, [plain, tls, redirect]: [SocketAddr; 3], instances: [SocketAddr; 2]) -> String {
    let at = |name: &str| home.join(name).display().to_string();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!(" {kind}_temp_path {};", at(kind)))
        .concat();
    let changes = [
        ("user www-data;", "user root;".to_owned()),
        ("http {", format!("http {{{temporary}")),
        ("/run/nginx.pid", at("nginx.pid")),
        ("/var/log/nginx/error.log", at("error.log")),
        ("/var/log/nginx/access.log", at("access.log")),
        ("/etc/omniroute/tls/fullchain.pem", at("cert.pem")),
        ("/etc/omniroute/tls/privkey.pem", at("key.pem")),
        ("listen 80;", format!("listen {redirect};")),
        ("listen 443 ssl", format!("listen {tls} ssl")),
        ("listen 127.0.0.1:8080;", format!("listen {plain};")),
        ("server 127.0.0.1:20128 ", format!("server {} ", instances[0])),
        ("server 127.0.0.1:20129 ", format!("server {} ", instances[1])),
    ];
    changes.iter().fold(SHIPPED.to_owned(), |text, (shipped, own)| {
        assert!(text.contains(shipped), "the shipped configuration has no {shipped:?}");
        text.replace(shipped, own)
    })
}

fn certificate(openssl: &Path, home: &Path) {
    let made = command(openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(home.join("key.pem"))
        .arg("-out")
        .arg(home.join("cert.pem"))
        .stderr(Stdio::null())
        .status()
        .expect("openssl runs");
    assert!(made.success(), "openssl made no certificate");
}

#[expect(clippy::disallowed_methods, reason = "the test runs the real server as a process")]
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
