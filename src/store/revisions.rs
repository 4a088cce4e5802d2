//! How often each noun was changed that somebody keeps a copy of in memory. The database counts by itself, so no way to
//! write can forget it.

use std::collections::HashMap;

use diesel::prelude::*;

use super::StoreError;
use super::db::Db;
use super::schema::revisions;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// Client keys, but for the time of their last use.
    Keys,
    /// Connections.
    Connections,
    /// Endpoints of one's own.
    Nodes,
    /// Combos.
    Combos,
    /// Settings.
    Settings,
    /// Aliases, mappings, chains, policies, and what is known of models.
    Routing,
}

impl Noun {
    const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Connections => "connections",
            Self::Nodes => "nodes",
            Self::Combos => "combos",
            Self::Settings => "settings",
            Self::Routing => "routing",
        }
    }
}

/// The counts at one moment. Read them before what they are about: then what was read is at least as new as they say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revisions(HashMap<String, i64>);

impl Revisions {
    /// The count of a noun; none where nothing was read yet.
    pub fn of(&self, noun: Noun) -> Option<i64> {
        self.0.get(noun.name()).copied()
    }

    /// Whether a copy that was read at `before` does not hold any more.
    pub fn moved(&self, before: &Self, noun: Noun) -> bool {
        self.of(noun).is_none() || self.of(noun) != before.of(noun)
    }

    /// Whether anything but keys moved since.
    pub fn is_ahead_of(&self, before: &Self) -> bool {
        [Noun::Connections, Noun::Nodes, Noun::Combos, Noun::Settings, Noun::Routing]
            .into_iter()
            .any(|noun| self.moved(before, noun))
    }

    /// Whether exactly one change lies between: whoever just made one knows which one it was.
    pub fn is_next(&self, before: &Self, noun: Noun) -> bool {
        before.of(noun).is_some_and(|before| self.of(noun) == before.checked_add(1))
    }
}

pub(super) fn load(db: &mut Db) -> Result<Revisions, StoreError> {
    Ok(Revisions(revisions::table.load::<(String, i64)>(db)?.into_iter().collect()))
}
