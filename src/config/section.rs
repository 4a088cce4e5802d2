//! The `section!` macro: one place where a key's name, type, default, range and meaning are written.
//!
//! From that single declaration come the struct, its `Default`, the range check, the comparison that a reload
//! reports, and the entry in `config.toml`. Adding a key is adding two lines.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value;

/// One key of the configuration with everything the loader and the documentation need to know about it.
#[derive(Clone, Debug)]
pub struct Key {
    /// Dotted path, for example `server.port`.
    pub path: String,
    /// One line of meaning.
    pub doc: String,
    /// Accepted range in words, when there is one.
    pub range: Option<String>,
    /// The default, as it would be written in a file.
    pub default: Value,
    /// What a value has to be, in words: "an integer", "a list of networks".
    pub expected: &'static str,
    /// Whether a value must never be shown.
    pub secret: bool,
    /// Turns the text of an environment variable into a value of the key's type (or leaves it as text when it is none).
    pub from_text: fn(&str) -> Value,
    /// Says why a value does not fit the key's type.
    pub accepts: fn(&Value) -> Result<(), String>,
}

/// A line of the outline of the configuration, in the order of `config.toml`.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A table such as `[server]`.
    Section {
        /// Dotted path of the table.
        path: String,
        /// One line of meaning.
        doc: String,
    },
    /// A key inside the table announced last.
    Key(Box<Key>),
}

/// A value that its type allows and its meaning does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl Violation {
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// Where a node hangs in the tree and what its parent says about it.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Dotted path from the root; empty for the root itself.
    pub path: String,
    /// One line of meaning.
    pub doc: String,
    /// Accepted range in words.
    pub range: Option<String>,
}

/// A section or a single value: the two kinds of node in the tree of the configuration.
pub trait Node {
    /// Append this node, taking `self` as the default, to the outline.
    fn describe(&self, place: Place, outline: &mut Vec<Entry>);
    /// Append the paths of all keys whose values differ.
    fn changed(&self, other: &Self, path: &str, keys: &mut Vec<String>);
    /// Append every value that is out of its range.
    fn check(&self, path: &str, violations: &mut Vec<Violation>);
}

/// `section` and `name` joined to a dotted path.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Doc comment lines as one line of text.
pub(crate) fn one_line(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn range_in_words<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("{} to {}", range.start(), range.end())
}

pub(crate) fn check_range<T: Display + PartialOrd>(
    value: &T,
    range: &RangeInclusive<T>,
    key: String,
    violations: &mut Vec<Violation>,
) {
    if !range.contains(value) {
        violations.push(Violation::new(key, format!("{value} is out of range, expected {}", range_in_words(range))));
    }
}

/// Declare a section: `/// meaning` and `name: Type = default, within 1..=9;` for each key.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident : $ty:ty = $default:expr $(, within $range:expr)? ;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::section::Node for $name {
            fn describe(
                &self,
                place: $crate::config::section::Place,
                outline: &mut Vec<$crate::config::section::Entry>,
            ) {
                use $crate::config::section::{Entry, Place, join, one_line};
                let path = place.path;
                if !path.is_empty() {
                    outline.push(Entry::Section { path: path.clone(), doc: place.doc });
                }
                $(
                    #[allow(unused_mut, unused_assignments, reason = "only keys with a range have one")]
                    let mut range: Option<String> = None;
                    $( range = Some($crate::config::section::range_in_words::<$ty>(&($range))); )?
                    let doc = one_line(&[$($doc),+]);
                    self.$field.describe(Place { path: join(&path, stringify!($field)), doc, range }, outline);
                )*
            }

            fn changed(&self, other: &Self, path: &str, keys: &mut Vec<String>) {
                use $crate::config::section::join;
                $( self.$field.changed(&other.$field, &join(path, stringify!($field)), keys); )*
            }

            fn check(&self, path: &str, violations: &mut Vec<$crate::config::section::Violation>) {
                use $crate::config::section::join;
                $(
                    let place = join(path, stringify!($field));
                    self.$field.check(&place, violations);
                    $(
                        $crate::config::section::check_range::<$ty>(&self.$field, &($range), place, violations);
                    )?
                )*
            }
        }
    };
}

pub(crate) use section;
