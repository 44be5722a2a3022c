//! sed programs that come from elsewhere, run where they can do no harm.

use std::ffi::{OsStr, OsString};

use crate::error::Result;
use crate::sys::command::Command;

/// sed can neither run programs nor touch files (`--sandbox`), nor use up the machine: 256 MiB and 2 seconds
/// of processor time are enough for names.
const SCRIPT: &str = "ulimit -v 262144 && ulimit -t 2 || exit; option=$1 program=$2; shift 2; \
                      printf '%s\\n' \"$@\" | sed --sandbox $option -e \"$program\"";

/// What a program prints for these lines, or what sed says against it; `option` may be empty.
///
/// # Errors
/// When no sed can be run.
pub fn run(
    option: &str,
    program: &OsStr,
    lines: &[OsString],
) -> Result<std::result::Result<Vec<u8>, String>> {
    let command = Command::new("sh").env("LC_ALL", "C").args(["-c", SCRIPT, "sh", option]);
    let finished = command.arg(program).args(lines).output()?;
    if !finished.status.success() {
        let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
        return Ok(Err(if said.is_empty() { "it did not come to an end".to_owned() } else { said }));
    }
    if finished.stdout.len() >= 64 * 1024 {
        return Ok(Err("it prints too much".to_owned())); // the beginning has not been kept
    }
    Ok(Ok(finished.stdout))
}
