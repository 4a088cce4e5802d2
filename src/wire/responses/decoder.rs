//! Reading a provider's stream.
//!
//! Everything is said twice or three times: in deltas, in a `done` event and in the item. Deltas are taken; what comes whole is
//! taken only where no delta came before it. Items that were never announced are read all the same.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::frame::{self, Frame, mended, value};
use super::streamed_item::{Item, Kind, Say, Tally};
use super::{citation, decode_answer, errors};
use crate::chat::{BadAnswer, Begin, Event, Opening, Part, PartKind, StreamDecoder, Truncated};
use crate::openai_error::UpstreamErrorBody;

const MAX_OPEN_ITEMS: usize = 1_024;

/// The reader of one stream.
#[derive(Debug, Default)]
pub struct Decoder {
    begin: Option<Begin>,
    open: Vec<Item>,
    items: usize,
    tally: Tally,
    over: bool,
}

type Read<T> = Result<T, BadAnswer>;

impl StreamDecoder for Decoder {
    fn frame(&mut self, name: Option<&str>, data: &[u8], out: &mut Vec<Event>) -> Read<bool> {
        let trimmed = data.trim_ascii();
        if self.over || trimmed.is_empty() || trimmed == b"[DONE]" {
            return Ok(self.over);
        }
        if let Ok(frame) = serde_json::from_slice::<Frame<'_>>(data) {
            return self.take(name, frame, data, out);
        }
        if name == Some("error") {
            return Err(BadAnswer::Error(Box::new(UpstreamErrorBody::parse(data))));
        }
        let mended = mended(data).ok_or(BadAnswer::NotJson)?;
        let frame = serde_json::from_str(&mended).map_err(|_| BadAnswer::NotJson)?;
        self.take(name, frame, data, out)
    }

    fn end(&mut self, _: &mut Vec<Event>) -> Result<(), Truncated> {
        if self.over { Ok(()) } else { Err(Truncated) }
    }
}

impl Decoder {
    fn take(&mut self, name: Option<&str>, mut frame: Frame<'_>, data: &[u8], out: &mut Vec<Event>) -> Read<bool> {
        let kind = frame.kind.take();
        let kind = kind.as_ref().map_or(name, |kind| Some(&*kind.0)).unwrap_or_default();
        let kind = kind.strip_prefix("response.").unwrap_or(kind);
        match kind {
            "output_text.delta" => self.grow(Opening::Text, frame, out)?,
            "refusal.delta" => self.grow(Opening::Refusal, frame, out)?,
            "function_call_arguments.delta" => self.argue(Kind::Function, frame, out)?,
            "custom_tool_call_input.delta" => self.argue(Kind::Custom, frame, out)?,
            "reasoning_summary_text.delta" => self.think(true, frame, out)?,
            "reasoning_text.delta" => self.think(false, frame, out)?,
            "created" | "in_progress" | "queued" => self.begin(frame.response, out),
            "output_item.added" => self.added(&frame, out)?,
            "content_part.added" => self.part_added(&frame, out)?,
            "completed" | "incomplete" | "done" => return self.finish(kind, frame.response, out),
            "failed" | "error" => return Err(failure(&frame, data)),
            _ if frame.error.is_some_and(|error| error.get() != "null") => return Err(failure(&frame, data)),
            _ => self.whole(kind, frame, out)?,
        }
        Ok(false)
    }

    /// What comes whole.
    fn whole(&mut self, kind: &str, mut frame: Frame<'_>, out: &mut Vec<Event>) -> Read<()> {
        if kind == "output_item.done" {
            self.item_done(&frame, out);
            return Ok(());
        }
        let Some(item) = self.find(&frame).and_then(|at| self.open.get_mut(at)) else { return Ok(()) };
        let part = frame.content_index.unwrap_or(0);
        let say = &mut Say { tally: &mut self.tally, out };
        match kind {
            "output_text.done" => {
                let news = item.told(part, Opening::Text, frame.text.take(), say);
                report(frame.logprobs.filter(|_| news), say.out);
            }
            "refusal.done" => drop(item.told(part, Opening::Refusal, frame.refusal.take(), say)),
            "content_part.done" => item.part_done(part, &decode_answer::content_part(&value(frame.part)), say.out),
            "output_text.annotation.added" => {
                if let Some(citation) = citation::read(&value(frame.annotation)) {
                    item.cite(part, citation, say.out);
                }
            }
            "function_call_arguments.done" => return item.argued(frame.arguments.take(), say.out),
            "custom_tool_call_input.done" => return item.argued(frame.input.take(), say.out),
            "reasoning_summary_text.done" => {
                item.thought(true, frame.summary_index.unwrap_or(0), frame.text.take(), say);
            }
            "reasoning_text.done" => item.thought(false, part, frame.text.take(), say),
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, response: Option<&RawValue>, out: &mut Vec<Event>) {
        if self.begin.as_ref().is_none_or(|begin| begin.id.is_none() || begin.model.is_none()) {
            self.learn(&frame::response(response, false), out);
        }
    }

    fn learn(&mut self, response: &Value, out: &mut Vec<Event>) {
        let mut begin = self.begin.clone().unwrap_or_default();
        begin.merge(&decode_answer::begin(response));
        if self.begin.as_ref() != Some(&begin) {
            self.begin = Some(begin.clone());
            out.push(Event::Begin(begin));
        }
    }

    /// Where in `open` the item of this event is: by its number, else by its id, else it is the last one.
    fn find(&self, frame: &Frame<'_>) -> Option<usize> {
        if frame.output_index.is_some() {
            return self.open.iter().rposition(|item| item.index == frame.output_index);
        }
        match &frame.item_id {
            Some(id) => self.open.iter().rposition(|item| item.id.as_deref() == Some(&*id.0)),
            None => self.open.len().checked_sub(1),
        }
    }

    /// The item of a delta; one that was never announced begins now.
    fn item(&mut self, kind: Kind, frame: &Frame<'_>) -> Read<(Option<&mut Item>, &mut Tally)> {
        let known = self.find(frame).filter(|at| self.open.get(*at).is_some_and(|item| item.kind == kind));
        if known.is_none() {
            let id = frame.item_id.as_ref().map(|id| id.0.to_string());
            self.announce(Item::unannounced(frame.output_index, id, kind))?;
        }
        let at = known.unwrap_or(self.open.len().saturating_sub(1));
        Ok((self.open.get_mut(at), &mut self.tally))
    }

    fn announce(&mut self, item: Item) -> Read<()> {
        if self.open.len() >= MAX_OPEN_ITEMS {
            return Err(BadAnswer::Broken("too many items are open at once".to_owned()));
        }
        self.items = self.items.saturating_add(1);
        self.open.push(item);
        Ok(())
    }

    fn added(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) -> Read<()> {
        let Some(mut item) = Item::announced(&value(frame.item), frame.output_index) else { return Ok(()) };
        // Some number all items alike: the one before is over then.
        if let Some(at) = self.find(frame).filter(|_| frame.output_index.is_some()) {
            self.open.remove(at).close(out);
        }
        item.open_call(&mut Say { tally: &mut self.tally, out });
        self.announce(item)
    }

    fn part_added(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) -> Read<()> {
        let what = match decode_answer::text(&value(frame.part), "type") {
            Some("output_text" | "text") => Opening::Text,
            Some("refusal") => Opening::Refusal,
            _ => return Ok(()),
        };
        let (Some(item), tally) = self.item(Kind::Message, frame)? else { return Ok(()) };
        item.block(frame.content_index.unwrap_or(0), what, &mut Say { tally, out });
        Ok(())
    }

    fn grow(&mut self, what: Opening, mut frame: Frame<'_>, out: &mut Vec<Event>) -> Read<()> {
        let (Some(item), tally) = self.item(Kind::Message, &frame)? else { return Ok(()) };
        item.grow(frame.content_index.unwrap_or(0), what, frame.delta.take(), &mut Say { tally, out });
        report(frame.logprobs, out);
        Ok(())
    }

    fn argue(&mut self, kind: Kind, mut frame: Frame<'_>, out: &mut Vec<Event>) -> Read<()> {
        let (Some(item), _) = self.item(kind, &frame)? else { return Ok(()) };
        item.argue(frame.delta.take(), out)
    }

    fn think(&mut self, summary: bool, mut frame: Frame<'_>, out: &mut Vec<Event>) -> Read<()> {
        let part = if summary { frame.summary_index } else { frame.content_index };
        let (Some(item), tally) = self.item(Kind::Thinking, &frame)? else { return Ok(()) };
        item.think(summary, part.unwrap_or(0), frame.delta.take(), &mut Say { tally, out });
        Ok(())
    }

    fn item_done(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) {
        let whole = value(frame.item);
        match self.find(frame) {
            Some(at) => self.open.remove(at).done(&whole, self.items, &mut Say { tally: &mut self.tally, out }),
            None => {
                self.items = self.items.saturating_add(1);
                let parts = decode_answer::parts_of(&whole, self.items);
                let say = &mut Say { tally: &mut self.tally, out };
                parts.iter().for_each(|part| say.whole(part));
            }
        }
    }

    fn finish(&mut self, kind: &str, response: Option<&RawValue>, out: &mut Vec<Event>) -> Read<bool> {
        let response = frame::response(response, self.items == 0);
        let status = decode_answer::text(&response, "status").unwrap_or(kind);
        let error = response.get("error").filter(|error| !error.is_null());
        if status == "failed" || error.is_some() {
            return Err(BadAnswer::Error(Box::new(errors::reported(error))));
        }
        self.learn(&response, out);
        // Some providers say nothing before the end.
        if self.items == 0 {
            let output = response.get("output").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let parts = output.iter().enumerate().flat_map(|(place, item)| decode_answer::parts_of(item, place));
            let say = &mut Say { tally: &mut self.tally, out };
            parts.for_each(|part| say.whole(&part));
        }
        for item in std::mem::take(&mut self.open) {
            item.close(out);
        }
        let refused = self.tally.refused.then(|| Part::new(PartKind::Refusal(String::new())));
        let stop = decode_answer::stop(status, decode_answer::reason(&response), refused.as_slice());
        out.push(Event::Stop { choice: 0, stop: stop.given(self.tally.has_calls) });
        out.extend(decode_answer::usage(&response).map(Event::Usage));
        self.over = true;
        Ok(true)
    }
}

fn failure(frame: &Frame<'_>, data: &[u8]) -> BadAnswer {
    let response = frame::response(frame.response, false);
    let whole = || serde_json::from_slice::<Value>(data).unwrap_or_default();
    let inner = response.get("error").cloned().or_else(|| frame.error.map(|error| value(Some(error))));
    BadAnswer::Error(Box::new(match (inner, frame.response) {
        (Some(Value::String(message)), _) => UpstreamErrorBody { message, ..UpstreamErrorBody::default() },
        (Some(error @ Value::Object(_)), _) => errors::reported(Some(&error)),
        (_, Some(_)) => errors::reported(None),
        (_, None) => errors::reported(Some(&whole())),
    }))
}

/// The probabilities of words, where there are some.
fn report(logprobs: Option<&RawValue>, out: &mut Vec<Event>) {
    let Some(raw) = logprobs.filter(|raw| !matches!(raw.get(), "[]" | "null")) else { return };
    let list = value(Some(raw));
    if list.as_array().is_some_and(|list| !list.is_empty()) {
        out.push(Event::Logprobs { choice: 0, logprobs: json!({ "content": list }) });
    }
}
