//! What fetched bytes are: by their own first bytes, which must not contradict what the client and the server say.

use super::fetch::Loaded;

/// First bytes, from which place on, and what they mean.
const MAGIC: [(usize, &[u8], &str); 8] = [
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypavif", "image/avif"),
    (0, b"%PDF-", "application/pdf"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Image,
    Pdf,
    Text,
}

/// The media type, if it is what it should be: a picture where the client says so, else a picture, a PDF or a text.
pub(super) fn accepted(image: bool, said: Option<&str>, loaded: &Loaded) -> Option<String> {
    let claims = [said, loaded.declared.as_deref()];
    let claimed = || claims.into_iter().flatten().filter_map(|claim| Some((class(claim)?, essence(claim))));
    let found = match magic(&loaded.bytes) {
        Some(mime) => mime.to_owned(),
        // A text has no first bytes: somebody has to call it one.
        None if is_text(&loaded.bytes) => claimed().find(|(class, _)| *class == Class::Text)?.1,
        None => return None,
    };
    let class = class(&found)?;
    let agreed = claims.into_iter().flatten().all(|claim| is_vague(claim) || self::class(claim) == Some(class));
    (agreed && (!image || class == Class::Image)).then_some(found)
}

fn magic(bytes: &[u8]) -> Option<&'static str> {
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    let starts = |(at, magic, _): &&(usize, &[u8], &str)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    if webp { Some("image/webp") } else { MAGIC.iter().find(starts).map(|row| row.2) }
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// The type without its parameters.
fn essence(mime: &str) -> String {
    mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn class(mime: &str) -> Option<Class> {
    match essence(mime).as_str() {
        "application/pdf" => Some(Class::Pdf),
        "application/json" | "application/xml" | "application/yaml" => Some(Class::Text),
        mime if mime.starts_with("image/") => Some(Class::Image),
        mime if mime.starts_with("text/") => Some(Class::Text),
        _ => None,
    }
}

/// It says nothing.
fn is_vague(mime: &str) -> bool {
    matches!(essence(mime).as_str(), "" | "application/octet-stream" | "binary/octet-stream")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";
    const PDF: &[u8] = b"%PDF-1.7 ...";

    fn loaded(bytes: &'static [u8], declared: &str) -> Loaded {
        let declared = Some(declared).filter(|declared| !declared.is_empty()).map(str::to_owned);
        Loaded { bytes: Bytes::from_static(bytes), declared }
    }

    #[rstest]
    #[case::by_its_bytes(true, None, PNG, "", Some("image/png"))]
    #[case::whatever_kind_of_picture_is_said(true, Some("image/jpeg"), PNG, "image/webp", Some("image/png"))]
    #[case::from_a_store_of_blobs(true, None, PNG, "binary/octet-stream", Some("image/png"))]
    #[case::webp(true, None, b"RIFF\x01\x02\x03\x04WEBPVP8 ", "image/webp", Some("image/webp"))]
    #[case::a_page_in_place_of_a_picture(true, None, b"<html>", "text/html", None)]
    #[case::a_page_that_calls_itself_a_picture(true, None, b"<html>", "image/png", None)]
    #[case::a_picture_that_calls_itself_a_page(true, None, PNG, "text/html", None)]
    #[case::a_drawing_in_text(true, None, b"<svg></svg>", "image/svg+xml", None)]
    #[case::a_pdf_is_no_picture(true, None, PDF, "application/pdf", None)]
    #[case::a_document(false, None, PDF, "application/pdf", Some("application/pdf"))]
    #[case::a_document_that_should_be_a_picture(false, Some("image/png"), PDF, "application/pdf", None)]
    #[case::a_picture_among_files(false, None, PNG, "image/png", Some("image/png"))]
    #[case::a_text(false, None, b"a,b\n1,2", "text/csv; charset=utf-8", Some("text/csv"))]
    #[case::a_text_by_the_clients_word(false, Some("text/markdown"), b"# a", "", Some("text/markdown"))]
    #[case::a_text_that_nobody_calls_one(false, None, b"# a", "", None)]
    #[case::a_text_in_another_alphabet(false, None, b"\xe9t\xe9", "text/plain", None)]
    #[case::bytes(false, None, b"a\0b", "text/plain", None)]
    #[case::nothing(false, None, b"", "text/plain", None)]
    #[case::a_program(false, None, b"\x7fELF", "application/x-executable", None)]
    fn bytes_are_what_they_should_be_or_nothing(
        #[case] image: bool,
        #[case] said: Option<&str>,
        #[case] bytes: &'static [u8],
        #[case] declared: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(accepted(image, said, &loaded(bytes, declared)).as_deref(), expected);
    }
}
