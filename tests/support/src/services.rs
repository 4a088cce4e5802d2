//! Real servers that only some machines have: found, or missed so loudly that nobody takes a skipped test for a passed one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// With this variable set a test that misses something fails.
pub const NO_SKIP: &str = "OMNIROUTE_TEST_NO_SKIP";

/// The value of the variable that names a service, or a loud notice that a test did not run.
///
/// # Panics
/// When it is missing and `OMNIROUTE_TEST_NO_SKIP` is set.
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        missed(name);
    }
    value
}

/// Where a program is, or a loud notice that a test did not run.
///
/// # Panics
/// When it is missing and `OMNIROUTE_TEST_NO_SKIP` is set.
pub fn program(name: &str) -> Option<PathBuf> {
    let found = find(name, std::env::var_os("PATH").unwrap_or_default().as_ref());
    if found.is_none() {
        missed(name);
    }
    found
}

/// Servers often live where the paths of ordinary users do not lead.
fn find(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let folders = std::env::split_paths(path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| Path::is_file(file))
}

/// A loud notice that a test did not run because this is missing.
///
/// # Panics
/// When `OMNIROUTE_TEST_NO_SKIP` is set.
pub fn missed(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let notice = format!("SKIPPED: {test} without {what}; run scripts/check, which installs and starts it\n");
    assert!(std::env::var_os(NO_SKIP).is_none_or(|value| value.is_empty()), "{notice}");
    // Not by a macro: what those print is swallowed when a test passes.
    drop(std::io::stderr().write_all(notice.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_along_the_path_and_a_folder_is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server"), "").unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();

        let path = folder.path().as_os_str();

        assert_eq!(find("server", path), Some(folder.path().join("server")));
        assert_eq!((find("folder", path), find("no-such-program", path)), (None, None));
    }
}
