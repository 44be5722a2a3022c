//! Files, environment and command line in, [`settings::Settings`] out.

pub mod legacy;
pub mod settings;
pub mod shell;
pub mod variables;
