//! Reading a provider's whole answer.

use super::body::Chunk;
use super::decoder::Decoder;
use crate::chat::{Answer, BadAnswer, Collector};
use crate::lenient::Any;

/// Reads a provider's whole answer.
///
/// # Errors
/// When it is an error, no JSON, or holds no choice that says anything.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    let text = std::str::from_utf8(body).map_err(|_| BadAnswer::NotJson)?;
    let text = text.trim_start_matches('\u{feff}');
    let Any(mut answer) = serde_json::from_str::<Any<Chunk<'_>>>(text).map_err(|_| BadAnswer::NotJson)?;
    for choice in &mut answer.choices.list {
        // Whole calls are told apart by their places, whatever the provider writes.
        for (index, call) in (0..).zip(&mut choice.message.calls) {
            call.index = Some(index);
        }
    }
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    decoder.chunk(answer, text, &mut events)?;
    decoder.finish(&mut events)?;
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    Ok(collector.finish())
}
