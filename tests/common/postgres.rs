//! A PostgreSQL server of one test's own, which the test may freeze and let go on.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use diesel::sql_types::{BigInt, Text};
use diesel::{Connection as _, PgConnection, QueryableByName, RunQueryDsl as _};
use omniroute_testkit::gateway::{Signal, reserve};
use omniroute_testkit::services;
use rustix::process::{Pid, getuid, kill_process};

use super::{PATIENCE, eventually};

/// A running server. Dropping it kills the server and deletes its data.
pub struct Postgres {
    server: Child,
    port: u16,
    /// Its drop deletes the data.
    _home: tempfile::TempDir,
}

impl Postgres {
    /// Start one, or say loudly that there is none on this machine.
    pub async fn start() -> Option<Self> {
        let Some((programs, user)) = programs().zip(user()) else {
            services::missed("a PostgreSQL server that this user can start");
            return None;
        };
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).expect("a directory for another user");
        fs::create_dir(&data).expect("a directory");
        chown(&data, Some(user.0), Some(user.1)).expect("a directory of the server's user");
        let mut initdb = command(&programs.join("initdb"), user, home.path());
        initdb.args(["--username=omniroute", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = initdb.arg(&data).output().expect("initdb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let (address, reservation) = reserve();
        drop(reservation);
        let mut server = command(&programs.join("postgres"), user, home.path());
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=50"]);
        server.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-p", &address.port().to_string(), "-D"]);
        let server = server.arg(&data).spawn().expect("a server");
        let server = Self { server, port: address.port(), _home: home };
        let up = eventually(PATIENCE, async || PgConnection::establish(&server.url()).ok()).await;
        assert!(up.is_some(), "the PostgreSQL server does not start");
        Some(server)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("postgres://omniroute@127.0.0.1:{}/postgres", self.port)
    }

    /// Stop every process of it where it stands: connections stay, new ones are accepted by the kernel, nothing answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Let it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// How often each request is in the usage table, by the id that the caller chose.
    pub fn usage(&self) -> HashMap<String, i64> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            asked: String,
            #[diesel(sql_type = BigInt)]
            times: i64,
        }
        let mut connection = PgConnection::establish(&self.url()).expect("the server");
        let query = "SELECT split_part(request_id, '.', 1) AS asked, count(*) AS times FROM usage_records GROUP BY 1";
        let rows = diesel::sql_query(query).load::<Row>(&mut connection).expect("the usage records");
        rows.into_iter().map(|row| (row.asked, row.times)).collect()
    }

    fn signal(&self, signal: Signal) {
        // The first one starts the others: it is stopped first and goes on last.
        let mut all = vec![self.server.id()];
        all.extend(children(self.server.id()));
        if signal == Signal::CONT {
            all.reverse();
        }
        for pid in all {
            kill_process(process(pid).expect("a process id"), signal).expect("a process of the server");
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A frozen process does not die of less, and an orphan of the server would stay frozen for ever.
        let orphans = children(self.server.id());
        drop(self.server.kill());
        drop(self.server.wait());
        for pid in orphans.into_iter().filter_map(process) {
            // One that has ended by itself is what is wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The newest server that is installed.
fn programs() -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let mut found: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    found.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    found.retain(|folder| folder.join("postgres").is_file() && folder.join("initdb").is_file());
    let version = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    found.into_iter().max_by_key(version)
}

/// User and group to run it as: this one, or the user `postgres` when this is root, which it refuses.
fn user() -> Option<(u32, u32)> {
    if !getuid().is_root() {
        return Some((getuid().as_raw(), rustix::process::getgid().as_raw()));
    }
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[expect(clippy::disallowed_methods, reason = "a test starts a server of its own")]
fn command(program: &Path, (user, group): (u32, u32), home: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_clear().env("LC_ALL", "C").uid(user).gid(group);
    command
}

/// The processes that this one started.
fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("a list of processes").flatten();
    let started = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.to_owned()).unwrap_or_default();
        fields.split_whitespace().nth(1).and_then(|field| field.parse().ok()) == Some(parent)
    };
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(started).collect()
}
