//! One item of a provider's stream while it grows, as blocks of the neutral stream.

use serde_json::Value;

use super::decode_answer::{mark, parts_of, text, thinking};
use crate::chat::{Answer, BadAnswer, Choice, Citation, Delta, Event, Opening, Part, PartKind, Stop};

/// Arguments of a call whose name is not known yet are kept up to this many bytes.
const MAX_HELD: usize = 8 << 20;

/// What the stream as a whole has said.
#[derive(Debug, Default)]
pub(super) struct Tally {
    blocks: u32,
    pub(super) has_calls: bool,
    pub(super) refused: bool,
}

/// Where the stream is said, and what was said of it so far.
#[derive(Debug)]
pub(super) struct Say<'a> {
    pub(super) tally: &'a mut Tally,
    pub(super) out: &'a mut Vec<Event>,
}

impl Say<'_> {
    fn open(&mut self, part: u64, what: Opening) -> Block {
        let number = self.tally.blocks;
        self.tally.blocks = number.saturating_add(1);
        self.tally.has_calls |= matches!(what, Opening::ToolCall { .. });
        self.tally.refused |= matches!(what, Opening::Refusal);
        self.out.push(Event::Open { block: number, choice: 0, what });
        Block { number, part, grown: false, part_grown: false, cited: false, closed: false }
    }

    /// Say a part that comes whole.
    pub(super) fn whole(&mut self, part: &Part) {
        let block = self.tally.blocks;
        self.tally.blocks = block.saturating_add(1);
        self.tally.has_calls |= matches!(part.kind, PartKind::ToolCall(_));
        self.tally.refused |= matches!(part.kind, PartKind::Refusal(_));
        let choice = Choice { index: 0, parts: vec![part.clone()], stop: Stop::Done, logprobs: None };
        let events = Answer { choices: vec![choice], ..Answer::default() }.events();
        self.out.extend(events.into_iter().filter_map(|event| match event {
            Event::Open { choice, what, .. } => Some(Event::Open { block, choice, what }),
            Event::Delta { delta, .. } => Some(Event::Delta { block, delta }),
            Event::Close { .. } => Some(Event::Close { block }),
            _ => None,
        }));
    }
}

/// What kind of item grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Thinking,
    Function,
    Custom,
    /// It comes whole.
    #[default]
    Other,
}

/// An item that is not done.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) kind: Kind,
    /// Id, name and namespace of a call.
    call: Option<(String, String, Option<String>)>,
    blocks: Vec<Block>,
    /// Whether the thought's text is a summary: the kind that came first.
    summary: Option<bool>,
    /// Arguments that came before the name, or in the announcement.
    held: String,
}

#[derive(Debug)]
pub(super) struct Block {
    number: u32,
    /// Which content; of a thought, which part of it grew last.
    part: u64,
    grown: bool,
    /// Something came of the part that grew last.
    part_grown: bool,
    cited: bool,
    closed: bool,
}

impl Block {
    fn grow(&mut self, text: String, out: &mut Vec<Event>) {
        if !text.is_empty() {
            self.grown = true;
            out.push(Event::Delta { block: self.number, delta: Delta::Text(text) });
        }
    }

    fn close(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.closed, true) {
            out.push(Event::Close { block: self.number });
        }
    }

    /// The part is known whole: say what of it was not said, and close it.
    fn complete(&mut self, whole: &Part, out: &mut Vec<Event>) {
        if self.closed {
            return;
        }
        if let PartKind::Text { text, .. } | PartKind::Refusal(text) = &whole.kind
            && !self.grown
        {
            self.grow(text.clone(), out);
        }
        if let PartKind::Text { citations, .. } = &whole.kind
            && !self.cited
        {
            let cited = citations.iter().cloned().map(Delta::Citation);
            out.extend(cited.map(|delta| Event::Delta { block: self.number, delta }));
        }
        self.close(out);
    }
}

impl Item {
    /// An item as it is announced; nothing for what is none.
    pub(super) fn announced(item: &Value, index: Option<u64>) -> Option<Self> {
        let owned = |name: &str| text(item, name).filter(|text| !text.is_empty()).map(str::to_owned);
        let (kind, arguments) = match text(item, "type")? {
            "message" => (Kind::Message, ""),
            "reasoning" => (Kind::Thinking, ""),
            "function_call" => (Kind::Function, "arguments"),
            "custom_tool_call" => (Kind::Custom, "input"),
            _ => (Kind::Other, ""),
        };
        let call = owned("call_id").zip(owned("name")).map(|(id, name)| (id, name, owned("namespace")));
        Some(Self { index, id: owned("id"), kind, call, held: owned(arguments).unwrap_or_default(), ..Self::default() })
    }

    /// An item of which only a piece came.
    pub(super) fn unannounced(index: Option<u64>, id: Option<String>, kind: Kind) -> Self {
        Self { index, id, kind, ..Self::default() }
    }

    /// A call begins when its id and name are known.
    pub(super) fn open_call(&mut self, say: &mut Say<'_>) {
        let custom = self.kind == Kind::Custom;
        if (custom || self.kind == Kind::Function)
            && let Some((id, name, namespace)) = self.call.clone()
        {
            self.blocks.push(say.open(0, Opening::ToolCall { id, name, namespace, custom }));
        }
    }

    /// The block of a part; it is opened if it is new, and nothing if it is closed.
    pub(super) fn block(&mut self, part: u64, what: Opening, say: &mut Say<'_>) -> Option<&mut Block> {
        if !self.blocks.iter().any(|block| block.part == part) {
            self.blocks.push(say.open(part, what));
        }
        self.blocks.iter_mut().find(|block| block.part == part && !block.closed)
    }

    pub(super) fn grow(&mut self, part: u64, what: Opening, more: Option<String>, say: &mut Say<'_>) {
        if let Some(block) = self.block(part, what, say) {
            block.grow(more.unwrap_or_default(), say.out);
        }
    }

    /// The whole text of a part, which is news only if no delta came. Says whether it was.
    pub(super) fn told(&mut self, part: u64, what: Opening, text: Option<String>, say: &mut Say<'_>) -> bool {
        let known = self.blocks.iter().any(|block| block.part == part && block.grown);
        let news = self.kind == Kind::Message && !known;
        if news {
            self.grow(part, what, text, say);
        }
        news
    }

    pub(super) fn cite(&mut self, part: u64, citation: Citation, out: &mut Vec<Event>) {
        let open = self.blocks.iter_mut().find(|block| block.part == part && !block.closed);
        if let Some(block) = open.filter(|_| self.kind == Kind::Message) {
            block.cited = true;
            out.push(Event::Delta { block: block.number, delta: Delta::Citation(citation) });
        }
    }

    pub(super) fn part_done(&mut self, part: u64, whole: &Part, out: &mut Vec<Event>) {
        let open = self.blocks.iter_mut().find(|block| block.part == part);
        if let Some(block) = open.filter(|_| self.kind == Kind::Message) {
            block.complete(whole, out);
        }
    }

    pub(super) fn argue(&mut self, more: Option<String>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let Some(more) = more.filter(|more| !more.is_empty()) else { return Ok(()) };
        if let Some(block) = self.blocks.first_mut() {
            block.grown = true;
            out.push(Event::Delta { block: block.number, delta: Delta::Arguments(more) });
            return Ok(());
        }
        if self.held.len().saturating_add(more.len()) > MAX_HELD {
            return Err(BadAnswer::Broken("the arguments of a call without a name are too long".to_owned()));
        }
        self.held.push_str(&more);
        Ok(())
    }

    /// The whole arguments, which are news only if no delta came.
    pub(super) fn argued(&mut self, whole: Option<String>, out: &mut Vec<Event>) -> Result<(), BadAnswer> {
        let is_call = matches!(self.kind, Kind::Function | Kind::Custom);
        match self.blocks.first() {
            Some(block) if is_call && !block.grown => self.argue(whole, out),
            None if is_call => {
                self.held.clear();
                self.argue(whole, out)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn think(&mut self, summary: bool, part: u64, more: Option<String>, say: &mut Say<'_>) {
        let Some(more) = more.filter(|more| !more.is_empty()) else { return };
        // The same thought in two versions: the first kind that comes is taken.
        if *self.summary.get_or_insert(summary) != summary {
            return;
        }
        if self.blocks.is_empty() {
            let what = Opening::Thinking { id: self.id.clone(), summary, redacted: false };
            self.blocks.push(say.open(part, what));
        }
        let Some(block) = self.blocks.first_mut() else { return };
        let gap = block.part != part && block.grown;
        block.part_grown = true;
        block.part = part;
        block.grow(if gap { format!("\n\n{more}") } else { more }, say.out);
    }

    /// A whole part of a thought, which is news only if no delta of that part came.
    pub(super) fn thought(&mut self, summary: bool, part: u64, text: Option<String>, say: &mut Say<'_>) {
        let known = self.blocks.first().is_some_and(|block| block.part >= part && block.part_grown);
        if self.kind == Kind::Thinking && !known {
            self.think(summary, part, text, say);
        }
    }

    /// The item is known whole: say what of it was not said, and close it.
    pub(super) fn done(mut self, whole: &Value, place: usize, say: &mut Say<'_>) {
        match self.kind {
            Kind::Message => {
                for (part, whole) in (0..).zip(parts_of(whole, place)) {
                    match self.blocks.iter_mut().find(|block| block.part == part) {
                        Some(block) => block.complete(&whole, say.out),
                        None => say.whole(&whole),
                    }
                }
            }
            Kind::Thinking if !self.blocks.is_empty() => {
                let seal = mark(whole).map(|mark| mark.seal);
                let block = self.blocks.iter().find(|block| !block.closed);
                if let Some((seal, block)) = seal.zip(block) {
                    say.out.push(Event::Delta { block: block.number, delta: Delta::Seal(seal) });
                }
            }
            Kind::Thinking => {
                let thinking = thinking(whole).map(PartKind::Thinking).map(Part::new);
                thinking.iter().for_each(|part| say.whole(part));
            }
            Kind::Function | Kind::Custom => return self.call_done(whole, place, say),
            Kind::Other => parts_of(whole, place).iter().for_each(|part| say.whole(part)),
        }
        self.blocks.iter_mut().for_each(|block| block.close(say.out));
    }

    fn call_done(mut self, whole: &Value, place: usize, say: &mut Say<'_>) {
        let known = parts_of(whole, place).into_iter().next();
        let Some(Part { kind: PartKind::ToolCall(mut call), .. }) = known else { return self.close(say.out) };
        if call.arguments.is_empty() {
            call.arguments = std::mem::take(&mut self.held);
        }
        match self.blocks.first_mut() {
            Some(block) if !block.grown && !call.arguments.is_empty() => {
                say.out.push(Event::Delta { block: block.number, delta: Delta::Arguments(call.arguments) });
                block.close(say.out);
            }
            Some(block) => block.close(say.out),
            None if call.name.is_empty() => {}
            None => say.whole(&Part::new(PartKind::ToolCall(call))),
        }
    }

    /// It was never said to be done.
    pub(super) fn close(mut self, out: &mut Vec<Event>) {
        let held = std::mem::take(&mut self.held);
        for block in &mut self.blocks {
            let is_call = matches!(self.kind, Kind::Function | Kind::Custom);
            if is_call && !block.grown && !held.is_empty() {
                out.push(Event::Delta { block: block.number, delta: Delta::Arguments(held.clone()) });
            }
            block.close(out);
        }
    }
}
