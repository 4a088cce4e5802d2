//! Which result belongs to which call, in a format whose calls mostly have no ids.

use crate::chat::ids;

/// The calls of a conversation that wait for their results.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Id and name, in the order of the calls.
    open: Vec<(String, String)>,
    turn: usize,
    in_turn: usize,
}

impl Calls {
    /// The next content begins.
    pub(super) fn next_turn(&mut self) {
        self.turn += 1;
        self.in_turn = 0;
    }

    /// The id of a call: its own, or one made from its place.
    pub(super) fn call(&mut self, id: Option<String>, name: &str) -> String {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.made(name));
        self.open.push((id.clone(), name.to_owned()));
        id
    }

    /// The id of the call that a result answers: the one it names, else the first open one of its name.
    pub(super) fn result(&mut self, id: Option<String>, name: &str) -> String {
        let id = id.filter(|id| !id.is_empty());
        let named = id.as_ref().and_then(|id| self.open.iter().position(|call| call.0 == *id));
        match named.or_else(|| self.open.iter().position(|call| call.1 == name)) {
            Some(at) => self.open.remove(at).0,
            None => id.unwrap_or_else(|| self.made(name)),
        }
    }

    fn made(&mut self, name: &str) -> String {
        self.in_turn += 1;
        ids::call_id(self.turn, self.in_turn, name)
    }
}
