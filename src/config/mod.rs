//! Files, environment and command line in, [`settings::Settings`] out.

pub mod settings;

pub mod legacy;
pub mod switch;
pub mod variables;

mod drop_in;
pub mod network;
mod retired;
pub mod sections;
pub mod shell;
