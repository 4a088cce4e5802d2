//! From the configured url to a place to connect to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::StoreError;
use super::db::{Engine, Target};
use super::pg_tls::{self, Tunnel};

/// Which engine a configured url means.
pub fn engine_of(url: &str) -> Engine {
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    if is_postgres { Engine::Postgres } else { Engine::Sqlite }
}

/// The file an embedded database lives in; relative paths start at the data directory.
pub fn sqlite_path(url: &str, data_dir: &Path) -> Result<PathBuf, StoreError> {
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(url);
    if path.is_empty() || path.contains(":memory:") || path.contains("://") || path.contains('\0') {
        return Err(StoreError::Invalid("the database url must be sqlite:<path>, a path, or postgres://...".into()));
    }
    // Joining also keeps SQLite from reading a path that starts with `file:` as a URI with options of its own.
    Ok(std::path::absolute(data_dir.join(path)).unwrap_or_else(|_| data_dir.join(path)))
}

/// Resolve the url, starting the TLS tunnel where one is asked for.
pub(crate) fn resolve(url: &str, data_dir: &Path, busy_timeout: Duration) -> Result<Target, StoreError> {
    match engine_of(url) {
        Engine::Sqlite => Ok(Target::Sqlite { path: sqlite_path(url, data_dir)?, busy_timeout, max_pages: None }),
        Engine::Postgres => resolve_postgres(url),
    }
}

fn resolve_postgres(url: &str) -> Result<Target, StoreError> {
    // The parser's own message could repeat the url, and the url holds the password.
    let mut url = Url::parse(url).map_err(|_| StoreError::Invalid("the postgres url cannot be parsed".into()))?;
    let settings = pg_tls::take_settings(&mut url)?;
    let tunnel = match settings {
        Some(settings) => Some(std::sync::Arc::new(Tunnel::start(&settings)?)),
        None => None,
    };
    if let Some(tunnel) = &tunnel {
        pg_tls::point_at_tunnel(&mut url, tunnel)?;
    }
    default_parameter(&mut url, "connect_timeout", "5");
    default_parameter(&mut url, "application_name", "omniroute");
    Ok(Target::Postgres { url: url.as_str().into(), tunnel })
}

fn default_parameter(url: &mut Url, name: &str, value: &str) {
    if !url.query_pairs().any(|(key, _)| key == name) {
        url.query_pairs_mut().append_pair(name, value);
    }
}
