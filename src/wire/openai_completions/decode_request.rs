//! Reading a client's request.

use serde_json::Value;

use crate::bad_request::BadRequest;
use crate::chat::read::{Fields, wrong_type};
use crate::chat::{Format, Message, Request, Role};
use crate::openai::{sampling, stream};

/// The most alternatives per token that OpenAI reports here.
const MAX_LOGPROBS: u64 = 5;

/// Checks and reads a client's request.
///
/// # Errors
/// When a field is missing, wrong, or asks for what a chat model cannot do; it is named.
pub fn decode_request(body: &[u8]) -> Result<Request, BadRequest> {
    let mut fields = Fields::of_body(body)?;
    let model = fields.required_text("model")?;
    if model.trim().is_empty() {
        return Err(fields.missing("model"));
    }
    let mut request = Request::new(Format::OpenAiChat, model);
    (request.stream, request.include_usage) = stream(&mut fields)?;
    request.messages = vec![Message::text(Role::User, prompt(&mut fields)?)];
    let logprobs = logprobs(&mut fields)?;
    request.sampling = sampling(&mut fields)?;
    if let Some(alternatives) = logprobs {
        request.sampling.logprobs = Some(true);
        request.sampling.top_logprobs = Some(alternatives);
    }
    refuse_others(&mut fields, request.sampling.n)?;
    request.user = fields.text("user")?;
    request.rest = fields.rest();
    Ok(request)
}

/// Whether the client wants usage at the end of its stream.
pub fn wants_usage(request: &Request) -> bool {
    request.include_usage
}

fn prompt(fields: &mut Fields) -> Result<String, BadRequest> {
    match fields.take("prompt") {
        None => Err(fields.missing("prompt")),
        Some(Value::String(prompt)) => Ok(prompt),
        Some(Value::Array(prompts)) => one_of(prompts),
        Some(_) => Err(wrong_type("prompt", "a string")),
    }
}

fn one_of(mut prompts: Vec<Value>) -> Result<String, BadRequest> {
    let refused = |message: &str| Err(BadRequest::new(message, "prompt", "unsupported_value"));
    let tokens = |prompt: &Value| prompt.is_number() || prompt.is_array();
    if prompts.iter().any(tokens) {
        return refused("'prompt' must be text; prompts of tokens are not supported");
    }
    match (prompts.pop(), prompts.is_empty()) {
        (Some(Value::String(prompt)), true) => Ok(prompt),
        (Some(Value::String(_)), false) => refused("'prompt' must be one text; send a request for each prompt"),
        (Some(_), _) => Err(wrong_type("prompt", "a string or a list of one string")),
        (None, _) => Err(BadRequest::new("'prompt' must not be empty", "prompt", "invalid_value")),
    }
}

/// How many alternatives to report; here a number, not a flag.
fn logprobs(fields: &mut Fields) -> Result<Option<u64>, BadRequest> {
    match fields.take("logprobs") {
        None | Some(Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(1)),
        Some(number) => match number.as_u64() {
            Some(count) if count <= MAX_LOGPROBS => Ok(Some(count)),
            Some(_) => {
                let message = format!("'logprobs' must be between 0 and {MAX_LOGPROBS}");
                Err(BadRequest::new(message, "logprobs", "invalid_value"))
            }
            None => Err(wrong_type("logprobs", "an integer")),
        },
    }
}

/// What would change the answer if it were left out.
fn refuse_others(fields: &mut Fields, n: Option<u32>) -> Result<(), BadRequest> {
    let refused = |name: &str, message: &str| Err(BadRequest::new(message, name, "unsupported_parameter"));
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return refused("suffix", "'suffix' is not supported: a chat model only adds to the end of a text");
    }
    if fields.flag("echo")? == Some(true) {
        return refused("echo", "'echo' is not supported");
    }
    if fields.count("best_of")?.is_some_and(|best_of| best_of > u64::from(n.unwrap_or(1))) {
        return refused("best_of", "'best_of' must not be greater than 'n'");
    }
    Ok(())
}
