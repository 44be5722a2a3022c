//! The program that turns a tree into a squashfs image: the built-in writer, or mksquashfs.

mod built_in;
mod priority;
mod words;

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;

use rustix::io::Errno;

use crate::config::settings::Engine;
use crate::error::{During, Error, Result, shown};
use crate::excludes::Pattern;
use crate::report;
use crate::space::Estimate;
use crate::squashfs;
use crate::squashfs::command_line::{self, Unknown};
use crate::sys::command::{self, Changes, Command, Finished};

pub use built_in::{NAME as WRITER, main as writer};
pub use words::of_compression;

/// The compressors that squashfs has numbers for (squashfs.rst, "compression options"), by the names
/// that mksquashfs gives them.
const COMPRESSORS: [&str; 6] = ["gzip", "lzma", "lzo", "lz4", "xz", "zstd"];

/// One image to be written.
#[derive(Debug)]
pub struct Job<'a> {
    /// The directory whose content becomes the image's.
    pub source: &'a Path,
    /// The file to write; it does not exist yet.
    pub destination: &'a Path,
    /// A file of exclude patterns.
    pub exclude_file: Option<&'a Path>,
    /// The patterns in it.
    pub listed: &'a [Pattern],
    /// More exclude patterns.
    pub excludes: &'a [Pattern],
    /// What else is asked of the writer, in mksquashfs's words.
    pub words: &'a [OsString],
    /// What goes before the program, to give it another priority. None: `nice` and `ionice`, as far as
    /// there are such.
    pub prefix: Option<&'a [OsString]>,
    /// Which program.
    pub program: Program,
    /// How much room the image is likely to take.
    pub estimate: &'a Estimate,
    /// What configuration files changed in the environment (S8).
    pub environment: &'a Changes,
}

impl Job<'_> {
    /// Whether the words before the patterns ask for a line for each file.
    fn lists_files(&self) -> bool {
        self.words.iter().take_while(|word| *word != "-e").any(|word| word == "-info")
    }
}

/// The program that will write, chosen and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// This one.
    BuiltIn,
    /// mksquashfs, from `PATH`.
    Mksquashfs,
}

/// Chooses the program: the one that was asked for, else the built-in writer if it knows everything that
/// is asked of it, else mksquashfs, which is said in one line.
///
/// # Errors
/// When the compressor has no meaning, mksquashfs is needed and missing, or the built-in writer was asked
/// for by name and cannot do what it should.
pub fn choose(engine: Engine, words: &[OsString]) -> Result<Program> {
    let compressor = words.iter().skip_while(|word| *word != "-comp").nth(1);
    if let Some(name) = compressor.filter(|name| !COMPRESSORS.iter().any(|known| *known == *name)) {
        return Err(Error::said(format!("`{}` is not a compressor of squashfs", shown(name)))
            .hint(format!("use one of {}", COMPRESSORS.join(", "))));
    }
    let unknown = command_line::parse(words).err();
    let program = match (engine, unknown) {
        (Engine::Mksquashfs, _) => Program::Mksquashfs,
        (_, None) => Program::BuiltIn,
        (Engine::BuiltIn, Some(Unknown(word))) => {
            return Err(Error::said(format!("the built-in squashfs writer cannot do `{}`", shown(&word)))
                .hint("leave it out, or use --engine=mksquashfs"));
        }
        (Engine::Automatic, Some(Unknown(word))) => {
            log::debug!("Using mksquashfs, as the built-in writer cannot do `{}`", shown(&word));
            Program::Mksquashfs
        }
    };
    if program == Program::Mksquashfs && !command::exists("mksquashfs") {
        return Err(Error::action("make an image", "the program mksquashfs is missing")
            .hint("install it: `apt-get install squashfs-tools`"));
    }
    Ok(program)
}

/// Writes the image.
///
/// On a terminal the program shows its own progress, and anywhere the list of files if it is asked for one;
/// what it prints otherwise is kept for the case that it fails.
///
/// # Errors
/// When the program fails, whatever its status, with what it said, or a signal stopped it.
pub fn write(job: &Job<'_>) -> Result<()> {
    let command = command(job)?;
    let is_shown = report::is_for_people() && (report::on_terminal() || job.lists_files());
    let finished = if is_shown { command.errors()? } else { command.output()? };
    if !finished.status.success() {
        return Err(failure(job, finished));
    }
    for line in job.program.said(&finished) {
        log::warn!("{line}");
    }
    Ok(())
}

/// Compares every name, attribute and byte of a written image with its source, whichever program wrote it.
///
/// # Errors
/// When something differs, or the image uses what our reader does not know.
pub fn verify(job: &Job<'_>) -> Result<()> {
    let request = command_line::parse(&words::of_job(job, Program::BuiltIn)).map_err(|Unknown(word)| {
        Error::new(
            "compare with its source",
            job.destination,
            format!("`{}` is not understood", shown(&word)),
        )
        .hint("leave out --verify")
    })?;
    let image = File::open(job.destination).during("open", job.destination)?;
    let excludes = built_in::excludes_of(&request)?;
    squashfs::verify::compare(&image, job.destination, job.source, &request.options, &excludes)
}

/// Both programs take the same words, so that one can stand for the other.
fn command(job: &Job<'_>) -> Result<Command> {
    let mut line = match job.prefix {
        Some(prefix) => prefix.to_vec(),
        None => priority::words()?,
    };
    line.push(job.program.path());
    line.extend([job.source.into(), job.destination.into()]);
    line.extend(words::of_job(job, job.program));
    let program = line.remove(0);
    let command = Command::new(program).args(line).changes(job.environment);
    Ok(match job.program {
        Program::BuiltIn => command.env(crate::cli::TOOL, WRITER),
        Program::Mksquashfs => command,
    })
}

impl Program {
    /// Its name, as `--engine` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "builtin",
            Self::Mksquashfs => "mksquashfs",
        }
    }

    fn path(self) -> OsString {
        match self {
            // nice and ionice stand before it, so that "self" would be one of them.
            Self::BuiltIn => format!("/proc/{}/exe", std::process::id()).into(),
            Self::Mksquashfs => "mksquashfs".into(),
        }
    }

    /// What it told on standard error, line by line.
    fn said(self, finished: &Finished) -> Vec<String> {
        let text = String::from_utf8_lossy(&finished.stderr);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        match self {
            Self::Mksquashfs => lines.map(|line| format!("mksquashfs: {line}")).collect(),
            Self::BuiltIn => {
                let prefix = format!("{WRITER}: ");
                let plain = |line: &str| {
                    let line = line.strip_prefix(&*prefix).unwrap_or(line);
                    line.strip_prefix("warning: ").unwrap_or(line).to_owned()
                };
                lines.map(plain).collect()
            }
        }
    }
}

fn failure(job: &Job<'_>, mut finished: Finished) -> Error {
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    let full = std::io::Error::from(Errno::NOSPC).to_string();
    if said.contains(full.split(" (os").next().unwrap_or(&full)) {
        return job.estimate.ran_out(job.destination);
    }
    if job.program == Program::BuiltIn {
        // Our own program speaks as we do.
        let lines = job.program.said(&finished);
        if !lines.is_empty() {
            return Error::said(lines.join("\n"));
        }
        // It was killed: for want of memory, or by the admin.
        let reason = format!("its writer ended with status {}", finished.exit_code());
        return Error::new("write the image", job.destination, reason);
    }
    finished.stderr = reason(&said).join("\n").into_bytes();
    // Temporary places and dozens of patterns tell nobody anything.
    let asked = job.words.iter().map(OsString::as_os_str);
    let prefix = job.prefix.unwrap_or_default().iter().map(OsString::as_os_str);
    let words: Vec<String> =
        prefix.chain(["mksquashfs".as_ref(), "...".as_ref()]).chain(asked).map(shown).collect();
    finished.line = words.join(" ");
    match finished.check() {
        // Whatever the program ended with, the run ends with 1 (U48).
        Err(error) => error.with_status(1),
        Ok(_) => Error::action("write the image", "its writer failed"),
    }
}

/// The lines in which mksquashfs says what is wrong: about a mistake on its command line it begins with
/// that and goes on with pages of help.
fn reason(said: &str) -> Vec<&str> {
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).take(3).collect();
    if errors.is_empty() {
        said.lines().filter(|line| !line.trim().is_empty()).take(2).collect()
    } else {
        errors
    }
}
