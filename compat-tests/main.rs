//! Compatibility tests: recorded runs of the original programs, repeated with this package's binary; and
//! runs of our own, for what the original cannot do or never promised.
//!
//! Each file in `recorded/` and `ours/` says what a machine looks like, what is run on it and what an
//! outsider can see afterwards. A case takes this way:
//!
//! 1. [`options`], [`suite`]: which cases, how many at a time, and the count at the end;
//! 2. [`variants`], [`case`], [`setup`], [`tree`]: a file becomes typed cases;
//! 3. [`sandbox`]: the program starts itself anew in namespaces of its own, and there
//! 4. [`machine`] lays a writable layer over the root that [`root_fs`] has built, and moves into it;
//! 5. [`world`], [`equipment`], [`disk`], [`entry`], [`stand_ins`]: the setup of the case;
//! 6. [`program`], [`signal`]: one run of the command line;
//! 7. [`leftovers`], [`snapshot`], [`image`], [`observe`]: what is there afterwards;
//! 8. [`compare`]: against what the case expects; [`live`]: against a run of the original.
//!
//! [`self_test`] plants differences that must be found. [`encoding`] is base64 and the like, [`ordered`]
//! a JSON object in the order of its file.

// A test program talks to whoever runs it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod options;
mod suite;

mod case;
mod ordered;
mod setup;
mod tree;
mod variants;

mod sandbox;

mod machine;
mod root_fs;

mod disk;
mod entry;
mod equipment;
mod stand_ins;
mod world;

mod program;
mod signal;

mod image;
mod leftovers;
mod observe;
mod snapshot;

mod compare;
mod live;

mod self_test;

mod encoding;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let passed = match arguments.split_first() {
        Some((first, rest)) if first == sandbox::INSIDE => sandbox::inside(rest).map(|()| true),
        Some((first, rest)) if first == stand_ins::STAND_IN => {
            let description = rest.first().map(|text| text.to_string_lossy()).unwrap_or_default();
            stand_ins::stand_in(&description).map(|()| true)
        }
        _ => run(),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> ltsp_core::error::Result<bool> {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let options = options::Options::read(arguments).map_err(ltsp_core::error::Error::said)?;
    if options.help {
        print!("{}", options::HELP);
        return Ok(true);
    }
    suite::run(&options)
}
