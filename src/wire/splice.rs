//! Changing single members of a JSON object while every other byte stays as it came.
//!
//! Re-serialising a body would reorder keys, reformat numbers and break prompt caches that key on bytes. Here the places of the
//! members are known and only the changed ones are replaced.

use std::ops::Range;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// Where the keys of an object lie, quotes included. Everything else follows from them.
pub(crate) type Keys = SmallVec<[Range<usize>; 24]>;

/// What happens to one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// It stays byte for byte.
    Keep,
    /// Its value becomes this JSON text.
    Value(String),
    /// Its key becomes this name.
    Rename(&'static str),
    /// It goes away.
    Remove,
}

/// A JSON object as text, with the places of its keys.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    text: &'a str,
    keys: &'a [Range<usize>],
}

impl<'a> Object<'a> {
    /// `keys` must be the places of the members of the one object that is `text`, in order.
    pub(crate) fn new(text: &'a str, keys: &'a [Range<usize>]) -> Self {
        Self { text, keys }
    }

    /// The name of a member as it is written, without quotes.
    pub(crate) fn name(&self, index: usize) -> &'a str {
        let key = self.keys.get(index).cloned().unwrap_or_default();
        unquoted(self.text.get(key).unwrap_or_default())
    }

    /// The value of a member, as text.
    pub(crate) fn value(&self, index: usize) -> &'a str {
        self.text.get(self.value_range(index)).unwrap_or_default()
    }

    /// The object after the edits and with `added` members behind the others; none when nothing changes.
    pub(crate) fn rebuild(&self, edit: impl Fn(usize) -> Edit, added: &[String]) -> Option<String> {
        let edits: SmallVec<[Edit; 24]> = (0..self.keys.len()).map(edit).collect();
        if added.is_empty() && edits.iter().all(|edit| *edit == Edit::Keep) {
            return None;
        }
        let mut out = String::with_capacity(self.text.len().saturating_add(256));
        let mut first = true;
        out.push_str(self.text.get(..self.first_key()).unwrap_or_default());
        for (index, edit) in edits.iter().enumerate().filter(|(_, edit)| **edit != Edit::Remove) {
            if !first {
                out.push_str(self.separator(index));
            }
            first = false;
            self.write_member(index, edit, &mut out);
        }
        for member in added {
            if !first {
                out.push(',');
            }
            first = false;
            out.push_str(member);
        }
        out.push_str(self.text.get(self.end_of_last()..).unwrap_or_default());
        Some(out)
    }

    fn write_member(&self, index: usize, edit: &Edit, out: &mut String) {
        let key = self.keys.get(index).cloned().unwrap_or_default();
        let value = self.value_range(index);
        let text = |range: Range<usize>| self.text.get(range).unwrap_or_default();
        match edit {
            Edit::Remove => {}
            Edit::Keep => out.push_str(text(key.start..value.end)),
            Edit::Value(json) => {
                out.push_str(text(key.start..value.start));
                out.push_str(json);
            }
            Edit::Rename(name) => {
                out.push('"');
                out.push_str(name);
                out.push('"');
                out.push_str(text(key.end..value.end));
            }
        }
    }

    /// The bytes between the member before and this one, their comma included.
    fn separator(&self, index: usize) -> &'a str {
        let end = self.keys.get(index).map_or(0, |key| key.start);
        let start = index.checked_sub(1).map_or(end, |before| self.value_range(before).end);
        self.text.get(start..end).unwrap_or(",")
    }

    fn first_key(&self) -> usize {
        self.keys.first().map_or_else(|| self.close(), |key| key.start)
    }

    fn end_of_last(&self) -> usize {
        self.keys.len().checked_sub(1).map_or_else(|| self.close(), |last| self.value_range(last).end)
    }

    /// Where the closing brace is.
    fn close(&self) -> usize {
        self.text.rfind('}').unwrap_or(self.text.len())
    }

    fn value_range(&self, index: usize) -> Range<usize> {
        let after_key = self.keys.get(index).map_or(0, |key| key.end);
        let start = after_key + leading(self.text.get(after_key..).unwrap_or_default(), |c| is_space(c) || c == ':');
        let limit = index.checked_add(1).and_then(|next| self.keys.get(next)).map_or_else(
            || self.close(),
            |next| trimmed_len(self.text.get(..next.start).unwrap_or_default()).saturating_sub(1),
        );
        let end = trimmed_len(self.text.get(..limit).unwrap_or_default());
        start..end.max(start)
    }
}

/// The places of the keys of the object that `text` is.
pub(crate) fn keys_of(text: &str) -> Result<Keys, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let keys = deserializer.deserialize_map(KeyPlaces { text })?;
    deserializer.end()?;
    Ok(keys)
}

/// A string as it is written, without its quotes.
pub(crate) fn unquoted(text: &str) -> &str {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

/// Where a piece of `text` lies in it. `piece` must have been borrowed from `text`.
pub(crate) fn place_of(piece: &str, text: &str) -> Range<usize> {
    let start = (piece.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    start..start.saturating_add(piece.len())
}

/// The bytes to leave out so that the member whose value lies at `value` is gone, its comma included.
pub(crate) fn member_cut(text: &str, value: Range<usize>) -> Option<Range<usize>> {
    let before_colon = text.get(..value.start)?.trim_end_matches(is_space).strip_suffix(':')?;
    let key = before_colon.trim_end_matches(is_space).strip_suffix('"')?;
    let before_key = text.get(..key.rfind('"')?)?.trim_end_matches(is_space);
    if let Some(before_comma) = before_key.strip_suffix(',') {
        return Some(before_comma.len()..value.end);
    }
    let rest = text.get(value.end..)?;
    let comma = leading(rest, is_space);
    let cut_comma = usize::from(rest.get(comma..)?.starts_with(','));
    Some(before_key.len()..value.end.saturating_add(comma * cut_comma).saturating_add(cut_comma))
}

struct KeyPlaces<'t> {
    text: &'t str,
}

impl<'de> Visitor<'de> for KeyPlaces<'de> {
    type Value = Keys;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Keys, A::Error> {
        let mut keys = Keys::new();
        while let Some((key, _)) = members.next_entry::<&'de RawValue, IgnoredAny>()? {
            keys.push(place_of(key.get(), self.text));
        }
        Ok(keys)
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn leading(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

fn trimmed_len(text: &str) -> usize {
    text.trim_end_matches(is_space).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuilt(text: &str, edit: impl Fn(&str) -> Edit, added: &[&str]) -> Option<String> {
        let keys = keys_of(text).unwrap();
        let object = Object::new(text, &keys);
        let added: Vec<String> = added.iter().map(ToString::to_string).collect();
        object.rebuild(|index| edit(object.name(index)), &added)
    }

    #[test]
    fn an_object_without_changes_is_not_rebuilt() {
        assert_eq!(rebuilt("{\"a\" : 1 }", |_| Edit::Keep, &[]), None);
    }

    #[rstest::rstest]
    #[case::first("a", r#"{  "b":[1,{"c":2}] ,"c" : "x" }"#)]
    #[case::middle("b", r#"{  "a" : 1 ,"c" : "x" }"#)]
    #[case::last("c", r#"{  "a" : 1 , "b":[1,{"c":2}] }"#)]
    fn a_removed_member_takes_its_comma_along(#[case] name: &str, #[case] expected: &str) {
        let text = r#"{  "a" : 1 , "b":[1,{"c":2}] ,"c" : "x" }"#;

        let out = rebuilt(text, |n| if n == name { Edit::Remove } else { Edit::Keep }, &[]);

        assert_eq!(out.as_deref(), Some(expected));
    }

    #[rstest::rstest]
    #[case(r#"{ "a":1, "b":2, "c":3 }"#, "ab", &[], r#"{ "c":3 }"#)]
    #[case(r#"{ "a":1, "b":2, "c":3 }"#, "bc", &[], r#"{ "a":1 }"#)]
    #[case(r#"{ "a":1, "b":2, "c":3 }"#, "abc", &[], r#"{  }"#)]
    #[case(r#"{ "a":1, "b":2, "c":3 }"#, "abc", &["\"d\":4"], r#"{ "d":4 }"#)]
    #[case(r#"{}"#, "", &["\"d\":4", "\"e\":5"], r#"{"d":4,"e":5}"#)]
    #[case(r#"{"a":1}"#, "", &["\"d\":4"], r#"{"a":1,"d":4}"#)]
    fn runs_of_removals_and_additions_leave_valid_json(
        #[case] text: &str,
        #[case] gone: &str,
        #[case] added: &[&str],
        #[case] expected: &str,
    ) {
        let out = rebuilt(text, |n| if gone.contains(n) { Edit::Remove } else { Edit::Keep }, added);

        assert_eq!(out.as_deref(), Some(expected));
    }

    #[test]
    fn values_and_names_change_in_place() {
        let edit = |name: &str| match name {
            "a" => Edit::Value("\"x\"".into()),
            "b" => Edit::Rename("beta"),
            _ => Edit::Keep,
        };

        let out = rebuilt("{\"a\" :\t1,\n \"b\" : [ 2 ] }", edit, &[]);

        assert_eq!(out.as_deref(), Some("{\"a\" :\t\"x\",\n \"beta\" : [ 2 ] }"));
    }

    #[rstest::rstest]
    #[case(r#"{"a":1,"usage":null}"#, r#"{"a":1}"#)]
    #[case(r#"{"usage":null,"a":1}"#, r#"{"a":1}"#)]
    #[case(r#"{ "usage" : null , "a":1}"#, r#"{ "a":1}"#)]
    #[case(r#"{"a":1 , "usage" : null, "b":2}"#, r#"{"a":1 , "b":2}"#)]
    #[case(r#"{"usage":null}"#, r#"{}"#)]
    fn a_member_is_cut_by_the_place_of_its_value(#[case] text: &str, #[case] expected: &str) {
        let start = text.find("null").unwrap();

        let cut = member_cut(text, start..start + 4).unwrap();

        let out = format!("{}{}", &text[..cut.start], &text[cut.end..]);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
        assert_eq!(out.replace(' ', ""), expected.replace(' ', ""));
    }
}
