//! `/api/settings*`: what operators set is in force when the answer comes.

mod formats;
mod general;
mod ip_filter;
mod proxy;
mod wishes;
