//! Forged requests: what a page on another site can make a browser send along with our cookie.
//!
//! The cookie is `SameSite=Strict`, which already keeps it at home. Behind it, a request that changes something and
//! comes with the cookie must prove that our own page sent it: every browser states `Origin` or `Sec-Fetch-Site` on
//! such requests. One that states neither is no browser (or one so old that it can only forge what an HTML form can
//! send). Forms send POST with one of three content types and none of them is JSON; other methods need a preflight,
//! which we never grant. So a POST without either header must be JSON, the rest may pass.

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use url::Url;

/// Why a request is taken for forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrfFailure {
    /// Another site's page sent it.
    #[error("the request comes from another site")]
    CrossSite,
    /// Nothing shows where it comes from.
    #[error("the request must state its origin or be application/json")]
    NoProof,
}

/// Whether this method changes nothing.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the body is declared to be JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    declared.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Check a request that carries the session cookie. `secure`: the client came over https.
pub fn check_csrf(method: &Method, headers: &HeaderMap, secure: bool) -> Result<(), CsrfFailure> {
    if is_safe(method) {
        return Ok(());
    }
    let (origin, site) = (headers.get(ORIGIN), headers.get("sec-fetch-site"));
    if site.is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return Err(CsrfFailure::CrossSite);
    }
    match origin {
        Some(origin) if is_own(origin.to_str().unwrap_or_default(), headers, secure) => Ok(()),
        Some(_) => Err(CsrfFailure::CrossSite),
        None if site.is_some() || *method != Method::POST || is_json(headers) => Ok(()),
        None => Err(CsrfFailure::NoProof),
    }
}

/// The origin is this host's and not less secure than the way the request came.
fn is_own(origin: &str, headers: &HeaderMap, secure: bool) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(origin) = Url::parse(origin) else { return false };
    let Ok(own) = Url::parse(&format!("{}://{host}", origin.scheme())) else { return false };
    let web = matches!(origin.scheme(), "http" | "https") && (!secure || origin.scheme() == "https");
    web && origin.origin() == own.origin()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    const OK: Result<(), CsrfFailure> = Ok(());
    const CROSS: Result<(), CsrfFailure> = Err(CsrfFailure::CrossSite);
    const NO_PROOF: Result<(), CsrfFailure> = Err(CsrfFailure::NoProof);
    const FORM: &str = "content-type: application/x-www-form-urlencoded";
    const JSON: &str = "content-type: application/json; charset=utf-8";

    #[rstest]
    #[case::reading_is_always_allowed("GET", &["origin: https://evil.example"], false, OK)]
    #[case::our_own_page("POST", &["origin: https://gw.example"], true, OK)]
    #[case::our_own_page_on_its_port("POST", &["host: gw.example:20128", "origin: http://gw.example:20128"], false, OK)]
    #[case::the_fetch_header_alone("POST", &["sec-fetch-site: same-origin", FORM], false, OK)]
    #[case::typed_into_the_address_bar("POST", &["sec-fetch-site: none"], false, OK)]
    #[case::another_site("POST", &["origin: https://evil.example", JSON], false, CROSS)]
    #[case::a_sister_site("POST", &["sec-fetch-site: same-site", "origin: https://gw.example"], false, CROSS)]
    #[case::a_cross_site_form("POST", &["sec-fetch-site: cross-site", FORM], false, CROSS)]
    #[case::an_opaque_origin("POST", &["origin: null", JSON], false, CROSS)]
    #[case::another_port("POST", &["origin: https://gw.example:8443"], false, CROSS)]
    #[case::our_name_as_a_prefix("POST", &["origin: https://gw.example.evil.example"], false, CROSS)]
    #[case::plain_http_page_against_a_secure_gateway("POST", &["origin: http://gw.example"], true, CROSS)]
    #[case::the_headers_disagree("DELETE", &["sec-fetch-site: same-origin", "origin: https://evil.example"], false, CROSS)]
    #[case::a_script_with_json("POST", &[JSON], false, OK)]
    #[case::a_script_that_deletes("DELETE", &[], false, OK)]
    #[case::an_old_browsers_form("POST", &[FORM], false, NO_PROOF)]
    #[case::an_old_browsers_text_form("POST", &["content-type: text/plain"], false, NO_PROOF)]
    #[case::a_post_of_nothing("POST", &[], false, NO_PROOF)]
    fn a_forged_request_is_told_from_our_own(
        #[case] method: &str,
        #[case] lines: &[&str],
        #[case] secure: bool,
        #[case] expected: Result<(), CsrfFailure>,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("gw.example"));
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }

        let verdict = check_csrf(&method.parse().unwrap(), &headers, secure);

        assert_eq!(verdict, expected);
    }
}
