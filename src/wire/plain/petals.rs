//! Petals (`POST /api/v1/generate`): a form with the text so far in, what follows out.
//!
//! From the README of petals-infra/chat.petals.dev, "HTTP API": the form's `model`, `inputs`, `max_new_tokens`, `do_sample`,
//! `temperature`, `top_k`, `top_p`; the answer is `{"ok": true, "outputs"}` or `{"ok": false, "traceback"}`. The swarm gives a
//! text its continuation, so the model may go on and write the user's next words; they are cut off.

use serde_json::Value;

use super::{answer, spoken};
use crate::chat::{Answer, BadAnswer, EncodeTarget, Encoded, Refused, Request, Sampling, Stop, WayBack};
use crate::openai_error::UpstreamErrorBody;

const USER: &str = "Human";
const MODEL: &str = "Assistant";
/// The service insists on a cap.
const MAX_TOKENS: u64 = 512;

/// Writes a request.
///
/// # Errors
/// When it asks for more than words.
pub fn encode_request(request: &Request, target: &EncodeTarget<'_>) -> Result<Encoded, Refused> {
    let spoken = spoken(request, &["max_tokens", "temperature", "top_p", "top_k"])?;
    let Sampling { max_tokens, temperature, top_p, top_k, .. } = request.sampling;
    let samples = temperature.is_none_or(|temperature| temperature > 0.0);
    let mut form = Form::default();
    form.add("model", target.model);
    form.add("inputs", &spoken.transcript(USER, MODEL));
    form.add("max_new_tokens", &max_tokens.unwrap_or(MAX_TOKENS).to_string());
    form.add("do_sample", if samples { "1" } else { "0" });
    let numbers = [("temperature", temperature), ("top_p", top_p), ("top_k", top_k.map(|k| k as f64))];
    for (name, number) in numbers.into_iter().filter(|_| samples) {
        number.into_iter().for_each(|number| form.add(name, &number.to_string()));
    }
    Ok(Encoded { body: form.0.into(), dropped: spoken.dropped, way_back: WayBack::default() })
}

/// Reads an answer.
///
/// # Errors
/// When it is an error, no JSON, or holds no text.
pub fn decode_answer(body: &[u8]) -> Result<Answer, BadAnswer> {
    let json: Value = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    if json.get("ok").and_then(Value::as_bool) != Some(true) {
        let error = match json.get("traceback").and_then(Value::as_str) {
            Some(trace) => UpstreamErrorBody::parse(trace.trim().lines().last().unwrap_or_default().as_bytes()),
            None => UpstreamErrorBody::parse(body),
        };
        return Err(BadAnswer::Error(Box::new(error)));
    }
    let text = json.get("outputs").and_then(Value::as_str);
    let own = text.map(|text| text.split(&format!("\n{USER}:")).next().unwrap_or(text));
    answer(own.map(|text| text.trim_end_matches("</s>")), None, Stop::Done)
}

/// A form as browsers send it (WHATWG URL, "application/x-www-form-urlencoded").
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend([name, "="]);
        for byte in value.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'*' | b'-' | b'.' | b'_' => self.0.push(char::from(byte)),
                b' ' => self.0.push('+'),
                _ => self.0.push_str(&format!("%{byte:02X}")),
            }
        }
    }
}
