//! `ltsp`: options that all applets share, and the applets (F1 to F8).

mod global;
mod image;
mod kernel;
mod migrate;
mod nbd;
mod stock;

use std::ffi::{OsStr, OsString};

use rustix::fs::Mode;

use super::getopt::{self, CommandLine};
use crate::config::modern::Globals;
use crate::error::Error;
use crate::report;
use crate::site::Places;

pub(super) const NAME: &str = "ltsp";

/// How an applet ended.
type Outcome = Result<(), Failure>;

/// Why an applet did not succeed.
enum Failure {
    /// It could not do what it was asked to.
    Failed(Error),
    /// It was asked in the wrong way: the mistakes, and the help text that goes with them (F7).
    Usage(Vec<Error>, String),
    /// It was asked nothing; the help text (F6).
    Nothing(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An applet that is built in.
struct Applet {
    name: &'static str,
    /// A line for the list of them.
    summary: &'static str,
    help: fn() -> String,
    main: fn(&Globals, Vec<OsString>) -> Outcome,
}

const APPLETS: [Applet; 4] = [
    Applet {
        name: "image",
        summary: "Make the image that clients boot from.",
        help: image::help_text,
        main: image::main,
    },
    Applet {
        name: "kernel",
        summary: "Copy the kernels of images to where clients load them.",
        help: kernel::help_text,
        main: kernel::main,
    },
    Applet {
        name: "migrate",
        summary: "Print an ltsp.conf that does what the settings of LTSP 5 did.",
        help: migrate::help_text,
        main: migrate::main,
    },
    Applet {
        name: "nbd",
        summary: "Export the images by nbd-server.",
        help: nbd::help_text,
        main: nbd::main,
    },
];

/// Does what the words after the program's name ask for, and reports how it went.
pub(super) fn main(words: Vec<OsString>) -> u8 {
    // Images and kernels must be readable for servers that are not root (F9).
    rustix::process::umask(Mode::from_raw_mode(0o022));
    report::keep_debug_log(std::env::var("DEBUG_LOG").ok().as_deref());
    match run(words) {
        Ok(()) => 0,
        Err(Failure::Failed(error)) => {
            log::error!("{error}");
            error.status()
        }
        Err(Failure::Usage(errors, help)) => {
            for error in errors {
                log::error!("{error}");
            }
            printed(&help, 1)
        }
        Err(Failure::Nothing(help)) => printed(&help, 1),
    }
}

/// Prints a text; the exit status, which is another one if that fails.
fn printed(text: &str, status: u8) -> u8 {
    match super::print(text) {
        Ok(()) => status,
        Err(errors) => {
            for error in errors {
                log::error!("{error}");
            }
            1
        }
    }
}

fn run(words: Vec<OsString>) -> Outcome {
    let parsed = getopt::parse(global::OPTIONS, words.iter().cloned(), true);
    let line = parsed.map_err(|errors| {
        report::init(NAME);
        Failure::Usage(explained(errors, ""), global::help_text())
    })?;
    let applet = line.operands.first().map(OsString::as_os_str).unwrap_or_default();
    if let Some(asked) = global::information(&line.options) {
        report::init(NAME);
        return inform(asked, applet, &words);
    }
    let known = APPLETS.iter().find(|known| known.name == applet);
    report::init(&known.map_or(NAME.to_owned(), |known| format!("{NAME} {}", known.name)));
    match known {
        Some(known) => (known.main)(&global::variables(&line.options), line.operands[1..].to_vec()),
        None if applet.is_empty() => Err(Failure::Nothing(global::help_text())),
        None => Err(stock::hand_over(applet, &words).into()),
    }
}

/// Prints the version or a help text (F4, F5).
fn inform(asked: global::Information, operand: &OsStr, words: &[OsString]) -> Outcome {
    let text = match asked {
        global::Information::Version => super::version(NAME),
        global::Information::Help(applet) => {
            let applet = if applet.is_empty() { operand } else { &applet };
            match APPLETS.iter().find(|known| known.name == applet) {
                Some(known) => (known.help)(),
                None if applet.is_empty() || applet == NAME => global::help_text(),
                None => return Err(stock::hand_over(applet, words).into()),
            }
        }
    };
    super::print(&text).map_err(|mut errors| Failure::Failed(errors.remove(0)))
}

/// Parses an applet's options; mistakes come with its help text.
fn parsed<T: Copy>(
    applet: &str,
    options: &'static [getopt::OptionSpec<T>],
    words: Vec<OsString>,
    help: fn() -> String,
) -> Result<CommandLine<T>, Failure> {
    getopt::parse(options, words, super::posixly_correct())
        .map_err(|errors| Failure::Usage(explained(errors, applet), help()))
}

/// Mistakes with the way to the help text, which is not an applet's own option here.
fn explained(errors: Vec<Error>, applet: &str) -> Vec<Error> {
    let way = if applet.is_empty() { "ltsp --help".to_owned() } else { format!("ltsp --help {applet}") };
    errors.into_iter().map(|error| error.hint(format!("`{way}` explains the options"))).collect()
}

/// The places of this machine.
fn places() -> Places<'static> {
    Places::this()
}

/// `-b, --backup=VALUE`: which option sets which variable, for applets whose options do nothing else.
fn assign(site: &mut crate::site::Site, variable: &str, value: &OsStr, option: &'static str) {
    site.variables.assign(variable, value, crate::config::variables::Origin::Option(option));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_applet_is_on_the_manual_page_and_has_one_of_its_own() {
        let manual = include_str!("../../../man/ltsp.8");
        for applet in &APPLETS {
            assert!(manual.contains(&format!(".B {}\n", applet.name)), "{}", applet.name);
            let help = (applet.help)();
            assert!(help.starts_with(&format!("Usage: ltsp [OPTION]... {}", applet.name)), "{help}");
            assert!(
                help.trim_end().lines().last().unwrap().contains(&format!("ltsp-{}(8)", applet.name)),
                "{help}"
            );
            assert!(help.lines().all(|line| line.len() < 80), "{help}");
        }
    }
}
