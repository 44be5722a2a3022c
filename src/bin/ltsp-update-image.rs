//! `ltsp-update-image` and the LTSP 5 tools beside it, chosen by the name the program is called by.

use std::process::ExitCode;

fn main() -> ExitCode {
    ltsp_core::cli::main(std::env::args_os())
}
