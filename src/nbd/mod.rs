//! The exports of nbd-server, swap files for its clients, and the guard for servers that use NFS.

pub mod conf_d;
pub mod configuration;
pub mod guard;
pub mod keyfile;
pub mod probe;
pub mod process;
pub mod release;
pub mod reload;
pub mod sections;
pub mod server;
pub mod service;
pub mod swap;

mod configure;
#[cfg(test)]
pub(crate) mod real_server;

pub use configure::configure;
