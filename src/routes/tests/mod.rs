//! The routes, tried through the whole service.

mod access;
mod backups;
mod combos;
mod connections;
mod explain;
mod keys;
mod live;
mod login;
mod routing;
mod unknown_fields;
