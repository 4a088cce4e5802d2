//! Which result belongs to which call, in formats whose calls mostly have no ids.

use crate::chat::ids;

/// The calls of a conversation that wait for their results.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Id and name, in the order of the calls.
    open: Vec<(String, String)>,
    turn: usize,
    in_turn: usize,
}

impl Calls {
    /// The next content begins.
    pub(crate) fn next_turn(&mut self) {
        self.turn += 1;
        self.in_turn = 0;
    }

    /// The id of a call: its own, or one made from its place.
    pub(crate) fn call(&mut self, id: Option<String>, name: &str) -> String {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.made(name));
        self.open.push((id.clone(), name.to_owned()));
        id
    }

    /// Id and name of the call that a result answers: the one it names, else the first open one of its name, else, for a result
    /// without a name, the first open one.
    pub(crate) fn result(&mut self, id: Option<String>, name: Option<&str>) -> (String, Option<String>) {
        let id = id.filter(|id| !id.is_empty());
        let by_id = id.as_ref().and_then(|id| self.open.iter().position(|call| call.0 == *id));
        let by_name = || self.open.iter().position(|call| name.is_none_or(|name| call.1 == name));
        match by_id.or_else(by_name) {
            Some(at) => {
                let (id, called) = self.open.remove(at);
                (id, Some(name.map_or(called, str::to_owned)))
            }
            None => (id.unwrap_or_else(|| self.made(name.unwrap_or_default())), name.map(str::to_owned)),
        }
    }

    fn made(&mut self, name: &str) -> String {
        self.in_turn += 1;
        ids::call_id(self.turn, self.in_turn, name)
    }
}
