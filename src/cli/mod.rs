//! The command lines.

pub mod getopt;
