//! What a run tells: results on standard output, warnings and errors on standard error (S12), all of
//! it to syslog where there is one.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use crate::error::shown;

/// Where the system's log daemon listens.
const SYSLOG: &str = "/dev/log";

struct Report {
    tool: String,
    terminal: bool,
    syslog: Option<Mutex<Logger<LoggerBackend, Formatter3164>>>,
}

/// Sends `log`'s messages where they belong, from now on; `tool` is the name that the program was
/// called by. A second call changes nothing.
///
/// `info` is for results that others may read: one line each on standard output. `debug` is for progress,
/// and is shown only if standard output is a terminal: elsewhere a success is quiet. `warn` and `error`
/// go to standard error, after the tool's name.
pub fn init(tool: &str) {
    let report = Report { tool: tool.to_owned(), terminal: on_terminal(), syslog: syslog(tool) };
    if log::set_boxed_logger(Box::new(report)).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// Whether somebody watches standard output.
pub fn on_terminal() -> bool {
    rustix::termios::isatty(std::io::stdout())
}

/// A missing daemon is normal (containers, early boot); so is one that does not answer.
fn syslog(tool: &str) -> Option<Mutex<Logger<LoggerBackend, Formatter3164>>> {
    if !Path::new(SYSLOG).exists() {
        return None;
    }
    let process = tool.to_owned();
    let formatter =
        Formatter3164 { facility: Facility::LOG_DAEMON, hostname: None, process, pid: std::process::id() };
    syslog::unix_custom(formatter, SYSLOG).ok().map(Mutex::new)
}

impl Log for Report {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Debug
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = record.args().to_string();
        // Names from a disk may hold anything; only the line breaks are ours (before a hint).
        let lines: Vec<String> = message.lines().map(shown).collect();
        let text = lines.join("\n");
        // Nobody can be told that nobody listens: a closed pipe is the reader's choice.
        let _ = match record.level() {
            Level::Error => writeln!(std::io::stderr(), "{}: {text}", self.tool),
            Level::Warn => writeln!(std::io::stderr(), "{}: warning: {text}", self.tool),
            Level::Debug if !self.terminal => Ok(()),
            _ => writeln!(std::io::stdout(), "{text}"),
        };
        self.to_syslog(record.level(), &lines.join("; "));
    }

    fn flush(&self) {}
}

impl Report {
    fn to_syslog(&self, level: Level, line: &str) {
        let Some(Ok(mut syslog)) = self.syslog.as_ref().map(Mutex::lock) else { return };
        // A full or restarting daemon must not stop a build.
        let _ = match level {
            Level::Error => syslog.err(line),
            Level::Warn => syslog.warning(line),
            _ => syslog.info(line),
        };
    }
}

/// A number of bytes for people: `139.7 MB`, in powers of 1000 as disks are sold.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_with_one_decimal_in_the_largest_fitting_unit() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (139_710_000, "139.7 MB"),
            (2_100_000_000, "2.1 GB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
