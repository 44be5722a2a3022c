//! The built-in squashfs writer as a program, for measurements and trials; it is not installed.
//!
//! With `bound` it writes nothing, but takes the time to compress the blocks of an image that is there.
//!
//! `squashfs SOURCE IMAGE [comp=NAME] [level=N] [threads=N] [block=N] [always-fragments] [store] [check] [verify] [bound]`
#![allow(clippy::print_stderr, clippy::print_stdout)] // A program for developers, who read its output.

mod bound;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use ltsp_core::error::{During, Error, Result};
use ltsp_core::excludes::Excludes;
use ltsp_core::squashfs::{self, Compression, Fragments, WriteOptions};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [source, image, settings @ ..] => run(Path::new(source), Path::new(image), settings),
        _ => Err(Error::said("usage: squashfs SOURCE IMAGE [SETTING...]")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(source: &Path, image: &Path, settings: &[String]) -> Result<()> {
    let mut options = WriteOptions::default();
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        options.source_date_epoch(&epoch)?;
    }
    let (mut check, mut verify, mut bound) = (false, false, false);
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let number = || value.parse::<u32>().map_err(|_| Error::said(format!("{setting}: not a number")));
        match name {
            "comp" => options.compression = Compression::named(value)?,
            "level" => {
                let level = u8::try_from(number()?).unwrap_or(u8::MAX);
                options.compression = options.compression.with_level(level)?;
            }
            "threads" => options.threads = usize::try_from(number()?).unwrap_or(0),
            "block" => options.block_size = number()?,
            "always-fragments" => options.fragments = Fragments::Always,
            "no-fragments" => options.fragments = Fragments::None,
            "store" => options.store_everything(),
            "high" => options.compression = Compression::Lz4 { high: true },
            "check" => check = true,
            "verify" => verify = true,
            "bound" => bound = true,
            _ => return Err(Error::said(format!("there is no setting {setting}"))),
        }
    }
    if bound {
        println!("{:.3}", bound::bound(image, &options)?.as_secs_f64());
        return Ok(());
    }
    let mut open = File::options();
    let file =
        open.read(true).write(true).create(true).truncate(false).open(image).during("create", image)?;
    let summary = squashfs::write(source, &file, image, &options, &Excludes::default(), &mut |_| Ok(()))?;
    println!("{summary:?}");
    if check {
        squashfs::verify::self_check(&file, image, 64)?;
    }
    if verify {
        squashfs::verify::compare(&file, image, source, &options, &Excludes::default())?;
    }
    Ok(())
}
