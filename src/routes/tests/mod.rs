//! The routes, tried through the whole service.

mod access;
mod audit;
mod backups;
mod combos;
mod connections;
mod explain;
mod keys;
mod live;
mod login;
mod oidc;
mod pages;
mod rebinding;
mod roles;
mod routing;
mod system;
mod unknown_fields;
