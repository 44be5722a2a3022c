//! The built-in writer as a program of its own: so that it runs under the priority, or any other prefix,
//! that was asked for, and can be stopped like mksquashfs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use crate::error::{During, Error, Result, shown};
use crate::excludes::{self, Excludes, Pattern};
use crate::report::Bar;
use crate::squashfs::command_line::{self, Request, Unknown};
use crate::squashfs::{self, listing, verify};

/// What the program is called; never installed under this name.
pub const NAME: &str = "ltsp-mksquashfs";

/// How many blocks are read back after writing, besides all tables.
const SAMPLES: usize = 64;

/// `SOURCE IMAGE [OPTION]...`, the options being those of mksquashfs.
///
/// # Errors
/// When the image cannot be written, or does not read back.
pub fn main(words: &[OsString]) -> Result<()> {
    let [source, image, words @ ..] = words else {
        return Err(Error::said(format!("usage: {NAME} SOURCE IMAGE [OPTION]...")));
    };
    let request = command_line::parse(words).map_err(|Unknown(word)| {
        Error::said(format!("the built-in squashfs writer cannot do `{}`", shown(&word)))
    })?;
    // So that it can be told apart in a list of processes. A signal may simply end it: whoever started it
    // removes the unfinished file.
    rustix::thread::set_name(c"ltsp-mksquashfs").during("name the process", NAME)?;
    write(Path::new(source), Path::new(image), request)
}

fn write(source: &Path, image: &Path, mut request: Request) -> Result<()> {
    if let Some(epoch) = std::env::var_os("SOURCE_DATE_EPOCH") {
        request.options.source_date_epoch(&epoch.to_string_lossy())?;
    }
    let excludes = excludes_of(&request)?;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(image);
    let file = file.during("write the image", image)?;
    let mut bar = request.progress.then(Bar::new);
    squashfs::write(source, &file, image, &request.options, &excludes, &mut |progress| {
        if let Some(bar) = &mut bar {
            bar.show(progress.bytes, progress.total_bytes);
        }
        Ok(())
    })?;
    drop(bar);
    verify::self_check(&file, image, SAMPLES)?;
    if request.info {
        let mut output = BufWriter::new(std::io::stdout().lock());
        listing::print(&file, image, &mut output)?;
        match output.flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                return Err(Error::io("write to", "standard output", error));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn excludes_of(request: &Request) -> Result<Excludes> {
    let mut patterns = Vec::new();
    for file in &request.exclude_files {
        patterns.extend(excludes::read_file(file)?);
    }
    let given = request.excludes.iter().map(OsString::as_os_str);
    patterns.extend(given.map(|text: &OsStr| Pattern::parse(text)).collect::<Result<Vec<_>>>()?);
    Ok(Excludes::new(patterns))
}
