//! Files, environment and command line in, [`settings::Settings`] out.

pub mod settings;

pub mod legacy;
pub mod modern;

pub mod engine;
pub mod network;
pub mod switch;
pub mod variables;

mod drop_in;
mod retired;
pub mod sections;
pub mod shell;
