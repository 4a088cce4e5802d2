//! Data URLs, and what kind of bytes they hold.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::part::Source;

impl Source {
    /// A URL, or the bytes inside a `data:` URL. Data that is not Base64 becomes Base64.
    pub fn from_url(url: impl Into<String>) -> Self {
        let url = url.into();
        match url.strip_prefix("data:").and_then(|rest| rest.split_once(',')) {
            Some((head, data)) => Self::from_data(head, data),
            None => Self::Url { url, mime: None },
        }
    }

    fn from_data(head: &str, data: &str) -> Self {
        let mime = head.split(';').next().filter(|mime| !mime.is_empty()).unwrap_or("text/plain").to_owned();
        let encoded = head.split(';').any(|word| word.trim().eq_ignore_ascii_case("base64"));
        let data = if encoded { data.to_owned() } else { BASE64_STANDARD.encode(data) };
        Self::Base64 { mime, data }
    }

    /// As a URL: the URL itself, or the bytes as a `data:` URL. Files of a provider's store have none.
    pub fn to_url(&self) -> Option<String> {
        match self {
            Self::Base64 { mime, data } => Some(format!("data:{mime};base64,{data}")),
            Self::Url { url, .. } => Some(url.clone()),
            Self::Text(text) => Some(format!("data:text/plain;base64,{}", BASE64_STANDARD.encode(text))),
            Self::FileId(_) => None,
        }
    }
}

/// The media type of an image, by its first bytes: some formats do not say it.
pub fn image_type(base64: &str) -> &'static str {
    match base64.get(..4) {
        Some("/9j/") => "image/jpeg",
        Some("R0lG") => "image/gif",
        Some("UklG") => "image/webp",
        _ => "image/png",
    }
}
