//! Reading Cohere's whole answer.

use super::decoder::Decoder;
use super::frame::Frame;
use crate::chat::{Answer, BadAnswer, Collector};
use crate::lenient::Any;
use crate::openai_error::UpstreamErrorBody;

/// Reads a whole answer.
///
/// # Errors
/// When it is an error, no JSON, or holds no message.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    let text = std::str::from_utf8(body).map_err(|_| BadAnswer::NotJson)?;
    let Any(answer) = serde_json::from_str::<Any<Frame<'_>>>(text).map_err(|_| BadAnswer::NotJson)?;
    if !answer.object {
        let told = serde_json::from_str(text).ok().as_ref().and_then(UpstreamErrorBody::from_json);
        let broken = || BadAnswer::Broken("it is no object".into());
        return Err(told.map_or_else(broken, |error| BadAnswer::Error(Box::new(error))));
    }
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    decoder.whole(answer, text, &mut events)?;
    let mut collector = Collector::default();
    events.iter().for_each(|event| collector.take(event));
    Ok(collector.finish())
}
