//! The client against small servers that misbehave on purpose, all on 127.0.0.1.

mod faults;
mod pool;
mod proxy;
mod rebinding;
mod server;
mod tls;
