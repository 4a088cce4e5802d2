//! One fixture per format, every other format, a stored snapshot each.
//!
//! Extend a fixture before adding one. A snapshot that changes is a translation that changes: compare it with the format's
//! documentation before accepting it (`INSTA_UPDATE=always cargo test -p omniroute-wire golden`).

mod answers;
mod formats;
mod fuzz;
mod losses;
mod mutate;
mod pairs;
mod relay;
mod requests;
mod streams;

/// A snapshot in `snapshots/`, under this name.
fn stored(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// JSON as a reader wants it.
fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}
