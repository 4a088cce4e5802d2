//! Exceptions of the service.

/// The status that goes with an exception; in a stream there is only its name. The case of the first letter differs between
/// streams and answers.
pub(super) fn status_of_exception(name: &str) -> Option<u16> {
    let mut chars = name.chars();
    let first = chars.next()?.to_ascii_lowercase();
    let name = format!("{first}{}", chars.as_str());
    match name.as_str() {
        "validationException" => Some(400),
        "accessDeniedException" | "unrecognizedClientException" => Some(403),
        "resourceNotFoundException" => Some(404),
        "modelTimeoutException" => Some(408),
        "conflictException" => Some(409),
        "modelErrorException" | "modelStreamErrorException" => Some(424),
        "throttlingException" | "modelNotReadyException" | "serviceQuotaExceededException" => Some(429),
        "internalServerException" => Some(500),
        "serviceUnavailableException" => Some(503),
        _ => None,
    }
}
