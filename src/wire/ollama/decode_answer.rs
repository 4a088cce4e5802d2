//! A provider's whole answer: a stream of one line.

use super::decoder::Decoder;
use crate::chat::{Answer, BadAnswer, Collector, StreamDecoder};

/// Reads the answer of `/api/chat` or `/api/generate`.
///
/// # Errors
/// The provider's error, or that there is no answer in it.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    if body.trim_ascii().is_empty() {
        return Err(BadAnswer::NotJson);
    }
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    decoder.frame(None, body, &mut events)?;
    if !decoder.end_of_whole(&mut events) {
        return Err(BadAnswer::Broken("there is no message".to_owned()));
    }
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    Ok(collector.finish())
}
