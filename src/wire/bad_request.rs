//! A request that cannot be understood.

use crate::openai_error::ErrorBody;

/// A request that is refused before it costs anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// What is wrong.
    pub message: String,
    /// The field that is wrong, such as `messages[3].role`.
    pub param: Option<String>,
    /// The stable name of the fault.
    pub code: &'static str,
}

impl BadRequest {
    /// The error as the client gets it.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            message: self.message.clone(),
            kind: "invalid_request_error".into(),
            param: self.param.clone(),
            code: Some(self.code.into()),
        }
    }

    /// What is wrong, and in which field.
    pub fn new(message: impl Into<String>, param: impl Into<String>, code: &'static str) -> Self {
        Self { message: message.into(), param: Some(param.into()), code }
    }
}
