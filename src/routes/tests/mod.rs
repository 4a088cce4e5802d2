//! The routes, tried through the whole service.

mod access;
mod combos;
mod connections;
mod keys;
mod live;
mod login;
mod unknown_fields;
