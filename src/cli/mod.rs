//! The command lines: which tool was called, what it was asked to do, and how it ended.
//!
//! Only this room prints errors and picks exit statuses.

pub mod getopt;

mod config_tool;
mod help;
mod ltsp;
mod nbdswapd;
mod update_image;
mod update_kernels;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use crate::config::legacy::{self, Configuration, Sources};
use crate::config::switch::Switch;
use crate::config::variables::Variables;
use crate::error::{During, Error, Result, shown};
use crate::sys::supervise;
use crate::{engine, report};

/// Names the tool to the program in a child process, whose file name says nothing about it.
pub const TOOL: &str = "LTSP_IMAGE_TOOLS_CALLED_AS";

/// What a tool makes of its command line; a mistake there may be one of several (U9).
type Outcome = std::result::Result<(), Vec<Error>>;

/// One start of a tool.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    tool: &'static str,
    called_as: &'a OsStr,
}

/// What a tool does with the words of its command line.
type Main = fn(Call<'_>, Vec<OsString>) -> Outcome;

/// The tools by their names.
const TOOLS: &[(&str, Main)] = &[
    (update_image::NAME, update_image::main),
    (update_kernels::NAME, update_kernels::main),
    (config_tool::NAME, config_tool::main),
    (nbdswapd::NAME, nbdswapd::main),
    (engine::WRITER, |_, words| engine::writer(&words).map_err(single)),
];

/// Does the job of the tool whose name the program was called by, from the first of `args` on, and
/// reports how it went. Killing the process only makes the one that works stop and undo what it did.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    if std::env::var_os(TOOL).is_some() {
        return ExitCode::from(work(args)); // whoever started it looks after it
    }
    supervise::supervised(|| work(args))
}

fn work(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut args = args.into_iter();
    let first = args.next().filter(|name| !name.is_empty());
    let called_as = std::env::var_os(TOOL).or(first).unwrap_or_else(|| update_image::NAME.into());
    let name = Path::new(&called_as).file_name().unwrap_or(&called_as);
    if name == ltsp::NAME {
        return ltsp::main(args.collect());
    }
    report::init(&shown(name));
    let machine = std::fs::read("/proc/cmdline").unwrap_or_default(); // a container may hide it
    if is_debugged(name, std::env::var_os("debug").as_deref(), &machine) {
        log::debug!("started");
    }
    let outcome = match TOOLS.iter().find(|(tool, _)| is_called(tool, name)) {
        Some((tool, main)) => main(Call { tool, called_as: &called_as }, args.collect()),
        None => Err(vec![unknown_tool(name)]),
    };
    match outcome {
        Ok(()) => 0,
        Err(errors) => {
            for error in &errors {
                log::error!("{error}");
            }
            errors.first().map_or(1, Error::status)
        }
    }
}

/// Whether a name is that of a tool; with an ending it may be, too, as a diverted program has one (D45).
fn is_called(tool: &str, name: &OsStr) -> bool {
    name.as_encoded_bytes().strip_prefix(tool.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'.', ..]))
}

fn unknown_tool(name: &OsStr) -> Error {
    let names = TOOLS.iter().map(|(tool, _)| *tool).filter(|tool| *tool != engine::WRITER);
    let names: Vec<&str> = names.collect();
    Error::said(format!("there is no tool of the name {}", shown(name)))
        .hint(format!("call this program by one of these names: {}", names.join(", ")))
}

/// Prints a help or version text.
fn print(text: &str) -> Outcome {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever has closed the pipe has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.during("write to", "standard output").map_err(single),
    }
}

/// `TOOL VERSION` on one line (S13, D42).
fn version(tool: &str) -> String {
    format!("{tool} {}\n", env!("CARGO_PKG_VERSION"))
}

/// Stops everybody but root (S16). It is the effective user that counts; a variable `UID` is not believed
/// (D33).
fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::said("only root may do this").hint("run it with sudo, or as root"))
}

/// Reads the configuration files of the tool and says what is odd about them.
fn configuration(call: Call<'_>) -> Result<Variables> {
    let loaded = legacy::load(sources(call), std::env::vars_os())?;
    Ok(told(loaded))
}

fn sources(call: Call<'_>) -> Sources<'_> {
    Sources { tool: call.tool, called_as: call.called_as, etc: Path::new("/etc"), owner: 0 }
}

fn told(loaded: Configuration) -> Variables {
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    loaded.variables
}

/// Says how doubtful values are read (D39).
fn warn_of_doubts(switches: &[Switch], variables: &Variables) {
    for doubt in switches.iter().filter_map(|switch| switch.doubt(variables)) {
        log::warn!("{doubt}");
    }
}

/// Whether the first operand ends the options (U7).
fn posixly_correct() -> bool {
    std::env::var_os("POSIXLY_CORRECT").is_some()
}

fn single(error: Error) -> Vec<Error> {
    vec![error]
}

/// Whether a line in the log was asked for when that tool starts (S11): by the variable `debug`, or else on
/// the kernel's command line.
fn is_debugged(tool: &OsStr, variable: Option<&OsStr>, machine: &[u8]) -> bool {
    match variable.filter(|value| !value.is_empty()) {
        Some(value) => value == tool,
        None => {
            let mut words = machine.split(u8::is_ascii_whitespace).rev();
            words.find_map(|word| word.strip_prefix(b"ltsp.debug=")) == Some(tool.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = unknown_tool("ltsp-chroot".as_ref()).to_string();
        assert!(error.contains("ltsp-chroot\n"), "{error}");
        assert!(error.ends_with("ltsp-update-image, ltsp-update-kernels, ltsp-config, nbdswapd"), "{error}");
    }

    // D45
    #[test]
    fn a_diverted_program_keeps_its_job() {
        for (name, expected) in [
            ("ltsp-update-image", true),
            ("ltsp-update-image.distrib", true),
            ("ltsp-update-images", false),
            ("ltsp-update", false),
        ] {
            assert_eq!(is_called("ltsp-update-image", name.as_ref()), expected, "{name}");
        }
    }

    // S11
    #[test]
    fn the_start_of_a_tool_is_logged_if_that_was_asked_for() {
        let tool = OsStr::new("nbdswapd");
        for (variable, machine, expected) in [
            (Some("nbdswapd"), "", true),
            (Some("ltsp-config"), "quiet ltsp.debug=nbdswapd", false),
            (Some(""), "quiet ltsp.debug=nbdswapd splash\n", true),
            (None, "ltsp.debug=ltsp-config ltsp.debug=nbdswapd\n", true),
            (None, "ltsp.debug=nbdswapd ltsp.debug=ltsp-config\n", false),
            (None, "ltsp.debug=nbdswapd2 nbdswapd\n", false),
        ] {
            let found = is_debugged(tool, variable.map(OsStr::new), machine.as_bytes());
            assert_eq!(found, expected, "{variable:?} {machine}");
        }
    }

    // S13
    #[test]
    fn the_version_is_one_line_of_name_blank_and_version() {
        assert_eq!(version("ltsp-config"), concat!("ltsp-config ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}
