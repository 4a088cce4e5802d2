//! Seals in the field `thoughtSignature`, which holds bytes: clients refuse what is not Base64, and some write it back in the other
//! alphabet. A seal of another family is marked, and the mark is Base64 too.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::chat::{Family, Seal};

/// How a seal is written.
pub(super) fn field(seal: &Seal) -> String {
    match seal.family {
        Family::Google => seal.data.clone(),
        _ => BASE64_STANDARD.encode(seal.to_field(Family::Google)),
    }
}

/// What the field holds.
pub(super) fn read(field: &str) -> Seal {
    let standard = field.replace('-', "+").replace('_', "/");
    let marked = BASE64_STANDARD.decode(standard).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let seal = marked.map(|marked| Seal::from_field(&marked, Family::Google));
    seal.filter(|seal| seal.family != Family::Google).unwrap_or_else(|| Seal::from_field(field, Family::Google))
}
