//! The types a single key may have: how each is read from a file, from a variable, and what to say when it is wrong.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::network::{HostException, Network};
use super::secret::Secret;
use super::section::{Entry, Key, Node, Place, Violation};

/// A type that a key can have.
pub trait Setting: Serialize + DeserializeOwned + PartialEq {
    /// What a value has to be, in words.
    const EXPECTED: &'static str;
    /// Whether a value must never be shown.
    const SECRET: bool = false;

    /// Read the text of an environment variable; text that does not fit is returned as text and refused later.
    fn from_text(text: &str) -> Value {
        Value::from(text)
    }
}

pub(super) fn describe<S: Setting>(default: &S, place: Place, outline: &mut Vec<Entry>) {
    outline.push(Entry::Key(Box::new(Key {
        path: place.path,
        doc: place.doc,
        range: place.range,
        default: serde_json::to_value(default).unwrap_or(Value::Null),
        expected: S::EXPECTED,
        secret: S::SECRET,
        from_text: S::from_text,
        accepts: accepts::<S>,
    })));
}

fn accepts<S: Setting>(value: &Value) -> Result<(), String> {
    S::deserialize(value).map(drop).map_err(|error| error.to_string())
}

fn integer(text: &str) -> Value {
    text.trim().replace('_', "").parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
}

fn switch(text: &str) -> Value {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Value::from(true),
        "false" | "0" | "no" | "off" => Value::from(false),
        _ => Value::from(text),
    }
}

fn list(text: &str) -> Value {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn word(text: &str) -> Value {
    Value::from(text.trim().to_ascii_lowercase())
}

/// Make a type a leaf of the tree.
macro_rules! leaf {
    ($($ty:ty, $expected:expr, $from_text:expr $(, secret = $secret:literal)?;)+) => { $(
        impl Setting for $ty {
            const EXPECTED: &'static str = $expected;
            $( const SECRET: bool = $secret; )?

            fn from_text(text: &str) -> Value {
                $from_text(text)
            }
        }

        impl Node for $ty {
            fn describe(&self, place: Place, outline: &mut Vec<Entry>) {
                describe(self, place, outline);
            }

            fn changed(&self, other: &Self, path: &str, keys: &mut Vec<String>) {
                if self != other {
                    keys.push(path.to_owned());
                }
            }

            fn check(&self, _path: &str, _violations: &mut Vec<Violation>) {}
        }
    )+ };
}

leaf! {
    bool, "true or false", switch;
    u16, "an integer from 0 to 65535", integer;
    u32, "an integer", integer;
    u64, "an integer", integer;
    usize, "an integer", integer;
    String, "text", Value::from;
    PathBuf, "a path", Value::from;
    Vec<PathBuf>, "a list of paths", list;
    Secret, "text: `env:NAME`, `file:PATH` or the value itself", Value::from, secret = true;
    Vec<String>, "a list of texts", list;
    Vec<Network>, "a list of networks such as 10.0.0.0/8", list;
    Vec<HostException>, "a list of `host:port` or `host:*`", list;
}

/// A closed set of words: the enum, its spelling in files, and its place as a leaf.
macro_rules! choice {
    ($($(#[$about:meta])* pub enum $name:ident = $expected:literal { $( $(#[$doc:meta])+ $variant:ident, )+ })+) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
            #[serde(rename_all = "lowercase")]
            pub enum $name { $( $(#[$doc])+ $variant, )+ }
        )+

        leaf! { $( $name, $expected, word; )+ }
    };
}

choice! {
    /// When something is done: always, never, or when the surroundings ask for it.
    pub enum When = "\"auto\", \"always\" or \"never\"" {
        /// As the surroundings ask.
        Auto,
        /// In any case.
        Always,
        /// In no case.
        Never,
    }

    /// How log lines look.
    pub enum LogFormat = "\"auto\", \"text\" or \"json\"" {
        /// Text on a terminal, JSON otherwise.
        Auto,
        /// One readable line per event.
        Text,
        /// One JSON object per line.
        Json,
    }

    /// Which way a configuration goes by itself.
    pub enum SyncDirection = "\"pull\" or \"push\"" {
        /// From the other instance to this one.
        Pull,
        /// From this one to the other.
        Push,
    }

    /// What becomes of rows that a configuration does not name.
    pub enum SyncMode = "\"merge\" or \"replace\"" {
        /// They stay.
        Merge,
        /// They go.
        Replace,
    }

    /// What happens to calls while their usage cannot be written down. A database that is away is no reason yet: the
    /// journal on the disk waits for it.
    pub enum LedgerUnavailable = "\"spool\" or \"refuse\"" {
        /// Serve; what the disk refuses waits in memory, the last records of it.
        Spool,
        /// Refuse new calls until the disk takes records again and the journal is small enough.
        Refuse,
    }
}
