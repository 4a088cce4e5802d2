//! What each address promises; the files are named as in the URLs.

mod api;
mod cli;
mod v1;
