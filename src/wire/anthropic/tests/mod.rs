mod answers;
pub(crate) mod arbitrary;
mod requests;
mod streams;
