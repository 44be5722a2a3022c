//! What a run tells: results on standard output, warnings and errors on standard error (S12), all of
//! it to syslog where there is one.

mod debug_log;
pub mod json;

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use crate::error::{During, Result, shown};
use debug_log::DebugLog;

/// Where the system's log daemon listens.
const SYSLOG: &str = "/dev/log";

static DEBUG_LOG: Mutex<Option<DebugLog>> = Mutex::new(None);
static RESULTS_ONLY: AtomicBool = AtomicBool::new(false);

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

/// From now on, warnings and errors also go to the log that users of LTSP know; `setting` is the variable
/// DEBUG_LOG (F14).
pub fn keep_debug_log(setting: Option<&str>) {
    if let Ok(mut log) = DEBUG_LOG.lock() {
        *log = DebugLog::new(Path::new("/run"), setting);
    }
}

/// From now on, standard output is for results that programs read: messages that would go there go to
/// standard error.
pub fn keep_output_for_results() {
    RESULTS_ONLY.store(true, Ordering::Relaxed);
}

/// Whether standard output is for people, and not kept for such results.
pub fn is_for_people() -> bool {
    !RESULTS_ONLY.load(Ordering::Relaxed)
}

/// Writes a result on a line of its own to standard output, at once.
///
/// # Errors
/// When it cannot be written; a reader that has gone away is none.
pub fn result(value: &json::Json) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{value}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.during("write to", "standard output"),
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
    let logger = syslog::unix_custom(formatter, SYSLOG).ok()?;
    // One that has stopped reading must not stop us.
    match &logger.backend {
        LoggerBackend::Unix(socket) => socket.set_nonblocking(true).ok()?,
        _ => return None,
    }
    Some(Mutex::new(logger))
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
            _ if RESULTS_ONLY.load(Ordering::Relaxed) => writeln!(std::io::stderr(), "{text}"),
            _ => writeln!(std::io::stdout(), "{text}"),
        };
        if record.level() <= Level::Warn {
            if let Ok(Some(log)) = DEBUG_LOG.lock().as_deref_mut() {
                log.add(&text);
            }
        }
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

/// A progress bar on standard output, if that is a terminal. On drop it is wiped away.
#[derive(Debug)]
pub struct Bar {
    begun: Instant,
    shown: Option<Instant>,
}

impl Bar {
    /// A bar that shows nothing yet.
    #[allow(clippy::new_without_default)] // It begins now.
    pub fn new() -> Self {
        Self { begun: Instant::now(), shown: None }
    }

    /// Shows how far the work is, in bytes; at most ten times a second.
    pub fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        let recently = self.shown.is_some_and(|last| now - last < Duration::from_millis(100));
        if recently || !on_terminal() || done == 0 {
            return;
        }
        self.shown = Some(now);
        let line = bar(done, total, now - self.begun);
        // Nobody can be told that nobody looks.
        let _ = write!(std::io::stdout(), "\r{line}\x1b[K").and_then(|()| std::io::stdout().flush());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stdout(), "\r\x1b[K").and_then(|()| std::io::stdout().flush());
        }
    }
}

/// `[=======>        ]  45 %  0.9 GB of 2.1 GB, 12 s left`
fn bar(done: u64, total: u64, spent: Duration) -> String {
    const WIDTH: u64 = 30;
    let total = total.max(done).max(1);
    let filled = usize::try_from(done * WIDTH / total).unwrap_or(0);
    let left = spent.as_secs_f64() * (total - done) as f64 / done.max(1) as f64;
    let (full, width) = ("=".repeat(filled), usize::try_from(WIDTH).unwrap_or(0));
    format!(
        "[{:width$}] {:3} %  {} of {}, {:.0} s left",
        full + ">",
        done * 100 / total,
        size(done),
        size(total),
        left.ceil()
    )
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
    fn the_bar_tells_how_far_the_work_is_and_how_long_it_will_take() {
        assert_eq!(
            bar(500_000_000, 2_000_000_000, Duration::from_secs(5)),
            "[=======>                      ]  25 %  500.0 MB of 2.0 GB, 15 s left"
        );
        assert!(bar(7, 5, Duration::ZERO).contains("100 %"));
    }

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
