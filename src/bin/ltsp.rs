//! `ltsp`, the front end of LTSP 19.08 and later: `ltsp image`, `ltsp kernel` and what goes with them.

use std::process::ExitCode;

fn main() -> ExitCode {
    ltsp_core::cli::main(std::env::args_os())
}
