//! What must hold while something breaks.

mod nginx;
