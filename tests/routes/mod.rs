//! What each address promises; the files are named as in the URLs.

mod api;
mod cli;
mod ollama;
mod v1;
mod v1beta;
