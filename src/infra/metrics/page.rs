//! The lines of the page that are written at the scrape: families whose members come and go with their connections,
//! and counters that are no whole numbers.

use std::borrow::Cow;
use std::fmt::Write;

/// The page so far.
pub(super) struct Page(String);

impl Page {
    pub(super) const fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    /// Begin a family.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        let mut before = '{';
        for (name, value) in labels {
            self.0.push(before);
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.0.push_str(&escaped(value));
            self.0.push('"');
            before = ',';
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// The name of a connection is its owner's: it may hold anything.
fn escaped(value: &str) -> Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n").into()
    } else {
        value.into()
    }
}
