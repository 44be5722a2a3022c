//! `ltsp image` (I1, I2).

use std::ffi::OsString;

use super::Outcome;
use super::kernel;
use crate::cli::getopt::{Argument, CommandLine, OptionSpec};
use crate::cli::help;
use crate::config::modern::{Globals, ImageRequest};
use crate::error::Result;
use crate::report;
use crate::run::images;
use crate::run::kernels::KernelApplet;
use crate::site::{Site, Start, drop_ins, hooks::When};
use crate::sys::coprocess::Output;
use crate::sys::{namespace, signals};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    Backup,
    Cleanup,
    Ionice,
    KernelInitrd,
    MksquashfsParams,
    Revert,
    // Not in the original.
    Audit,
    DryRun,
    Engine,
    Json,
    Keep,
    TrustBackingFiles,
    Verify,
}

const OPTIONS: &[OptionSpec<Id>] = &[
    OptionSpec::new(
        Id::Backup,
        Some(b'b'),
        "backup",
        Argument::Required("0|1"),
        "Whether the image that is replaced is kept as NAME.img.old. Default: 1. Variable: BACKUP.",
    ),
    OptionSpec::new(
        Id::Cleanup,
        Some(b'c'),
        "cleanup",
        Argument::Required("0|1"),
        "Whether accounts, keys and logs are taken out of the image. The source is not changed. Default: 1. \
         Variable: CLEANUP.",
    ),
    OptionSpec::new(
        Id::Ionice,
        Some(b'i'),
        "ionice",
        Argument::Required("COMMAND"),
        "What runs the program that writes the image, to give it another priority; empty: nothing. Default: \
         nice ionice -c3. Variable: IONICE.",
    ),
    OptionSpec::new(
        Id::KernelInitrd,
        Some(b'k'),
        "kernel-initrd",
        Argument::Required("GLOB REGEX"),
        kernel::KERNEL_INITRD,
    ),
    OptionSpec::new(
        Id::MksquashfsParams,
        Some(b'm'),
        "mksquashfs-params",
        Argument::Required("WORDS"),
        "How to write the image, in the words of mksquashfs: \"-comp zstd\". Variable: MKSQUASHFS_PARAMS.",
    ),
    OptionSpec::new(
        Id::Revert,
        Some(b'r'),
        "revert",
        Argument::Optional("N"),
        "Make no image: exchange NAME.img with NAME.img.old, or with the N-th image before it, and copy its \
         kernel. Variable: REVERT.",
    ),
    OptionSpec::added(
        Id::Audit,
        "audit",
        Argument::Optional("off|warn|strict"),
        "Whether the finished image is searched for keys and passwords, and not published if there are any \
         (strict). Default: warn. Variable: AUDIT.",
    ),
    OptionSpec::added(Id::DryRun, "dry-run", Argument::None, "Tell what would be done, and change nothing."),
    OptionSpec::added(
        Id::Engine,
        "engine",
        Argument::Required("NAME"),
        "The program that writes the image: builtin, mksquashfs, or auto, which is builtin unless more is asked \
         of it than it can do. Default: auto. Variable: ENGINE.",
    ),
    OptionSpec::added(Id::Json, "json", Argument::None, "Print one JSON object an image, and nothing else."),
    OptionSpec::added(
        Id::Keep,
        "keep",
        Argument::Required("N"),
        "How many replaced images are kept, for clients that still use them. Default: 1. Variable: \
         KEEP_BACKUPS.",
    ),
    OptionSpec::added(
        Id::TrustBackingFiles,
        "trust-backing-files",
        Argument::None,
        "Read files outside of its folder that a disk image refers to. Variable: TRUST_BACKING_FILES=1.",
    ),
    OptionSpec::added(
        Id::Verify,
        "verify",
        Argument::None,
        "Compare every file in the new image with its source before it is published. Variable: VERIFY=1.",
    ),
];

pub(super) fn help_text() -> String {
    format!(
        "\
Usage: ltsp [OPTION]... image [OPTION]... [SOURCE]...

Makes a compressed image of each SOURCE, BASE_DIR/images/NAME.img, from which
clients boot, and copies its kernel to TFTP_DIR/ltsp/NAME.

SOURCE is / for this server itself, the name of a chroot, a virtual machine or
an image in the base directory, or the path of one:
  /                        this server, with its file systems
  debian                   the chroot /srv/ltsp/debian, else the virtual
                           machine's disk /srv/ltsp/debian.img
  /vm/disk.qcow2           a disk; the partition with the system is found
  /vm/disk.img,partition=2 a disk, and which partition
  cd.iso,,casper/filesystem.squashfs
                           one file system in another
Without a SOURCE all that is in the base directory is taken.

Options:
{}
Examples:
  ltsp image /
  ltsp image --backup=0 -m '-comp zstd' debian
  ltsp image --revert debian

Settings: these variables, and ADD_IMAGE_EXCLUDES, ALL_IMAGES, BASE_DIR,
DEBUG_SHELL, LTSP_DEBUG, OMIT_FUNCTIONS, OMIT_IMAGE_EXCLUDES, OVERLAY,
RPI_IMAGE, TFTP_DIR, PRE_IMAGE_* and POST_IMAGE_*, in the environment or in
/etc/ltsp/ltsp.conf.
See ltsp(8) and ltsp-image(8).
",
        help::options(OPTIONS)
    )
}

pub(super) fn main(globals: &Globals, words: Vec<OsString>) -> Outcome {
    signals::catch()?;
    let parsed = super::parsed("image", OPTIONS, words, help_text);
    let given = |id| parsed.as_ref().is_ok_and(|line| line.options.iter().any(|given| given.id == id));
    let (dry_run, json) = (given(Id::DryRun), given(Id::Json));
    if json {
        report::keep_output_for_results();
    }
    if dry_run {
        report::keep_debug_log(Some("0")); // that of the last real run stays
    }
    let output = if json { Output::Errors } else { Output::Ours };

    // The shell of drop-in scripts has to see what is mounted for the image. Hooks alone are better off
    // where everybody sees what they do.
    let places = super::places();
    let has_drop_ins =
        !drop_ins::list(&drop_ins::folders(places.run, places.etc, "server", "image"))?.is_empty();
    if has_drop_ins {
        namespace::private_mounts()?;
    }
    let start = Start { applet: "image", globals, output, dry_run };
    let mut site = Site::load(start, places, std::env::vars_os())?;
    if !dry_run {
        // Before mistakes in options (F13, F35).
        let done = site.run_hooks(When::Before);
        site.debugged(done)?;
    }
    let request = take(parsed?, &mut site);
    let done = work(globals, output, &request, &mut site, !has_drop_ins);
    site.debugged(done)?;
    Ok(())
}

/// All that follows when options and configuration are read.
fn work(
    globals: &Globals,
    output: Output,
    request: &ImageRequest,
    site: &mut Site,
    private_mounts: bool,
) -> Result<()> {
    let (settings, warnings) = site.image_settings(request)?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    // A mistake that only the kernel step would meet is told before the long work.
    let places = super::places();
    let mut kernels = KernelApplet::load(globals, places, output, request.dry_run, site.environment())?;
    site.debug_messages();
    if private_mounts {
        namespace::private_mounts()?;
    }
    images::run(&settings, request, site, &mut kernels)?;
    if !request.dry_run {
        site.finish()?;
        site.run_hooks(When::After)?;
    }
    Ok(())
}

/// Sets the variables that options stand for.
fn take(line: CommandLine<Id>, site: &mut Site) -> ImageRequest {
    let mut request = ImageRequest { sources: line.operands, dry_run: false, json: false };
    for given in &line.options {
        let mut set =
            |variable, value: &std::ffi::OsStr, option| super::assign(site, variable, value, option);
        // An optional value that is not there, or empty, is this one.
        let or = |value: &'static str| if given.value().is_empty() { value.as_ref() } else { given.value() };
        match given.id {
            Id::Backup => set("BACKUP", given.value(), "backup"),
            Id::Cleanup => set("CLEANUP", given.value(), "cleanup"),
            Id::Ionice => set("IONICE", given.value(), "ionice"),
            Id::KernelInitrd => set("KERNEL_INITRD", given.value(), "kernel-initrd"),
            Id::MksquashfsParams => set("MKSQUASHFS_PARAMS", given.value(), "mksquashfs-params"),
            Id::Revert => set("REVERT", or("1"), "revert"),
            Id::Audit => set("AUDIT", or("warn"), "audit"),
            Id::Engine => set("ENGINE", given.value(), "engine"),
            Id::Keep => set("KEEP_BACKUPS", given.value(), "keep"),
            Id::TrustBackingFiles => set("TRUST_BACKING_FILES", "1".as_ref(), "trust-backing-files"),
            Id::Verify => set("VERIFY", "1".as_ref(), "verify"),
            Id::DryRun => request.dry_run = true,
            Id::Json => request.json = true,
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::getopt;
    use crate::error::Error;

    fn line(words: &[&str]) -> std::result::Result<CommandLine<Id>, Vec<Error>> {
        getopt::parse(OPTIONS, words.iter().map(OsString::from), false)
    }

    #[test]
    fn the_table_the_help_text_and_the_manual_page_agree() {
        help::check_table(OPTIONS, &help_text(), include_str!("../../../man/ltsp-image.8"));
    }

    // F2: whatever else there is now.
    #[test]
    fn every_abbreviation_of_the_originals_options_means_what_it_meant() {
        let names = ["backup", "cleanup", "ionice", "kernel-initrd", "mksquashfs-params", "revert"];
        for name in names {
            for end in 1..=name.len() {
                let word = format!("--{}=x", &name[..end]);
                assert_eq!(line(&[&word]).unwrap().options[0].spelling, format!("--{name}"), "{word}");
            }
        }
        for (ours, id) in [
            ("--a", Id::Audit),
            ("--d", Id::DryRun),
            ("--e=x", Id::Engine),
            ("--j", Id::Json),
            ("--kee=1", Id::Keep),
            ("--t", Id::TrustBackingFiles),
            ("--v", Id::Verify),
        ] {
            assert_eq!(line(&[ours]).unwrap().options[0].id, id, "{ours}");
        }
    }

    // I1, F2, F7
    #[test]
    fn letters_take_values_as_in_the_original() {
        let found = line(&["-b0", "-c", "1", "foo", "-i", "", "-k", "a b", "-m", "-comp xz", "-r"]).unwrap();
        let values: Vec<_> =
            found.options.iter().map(|given| (given.id, given.value().to_str().unwrap())).collect();
        let expected = [
            (Id::Backup, "0"),
            (Id::Cleanup, "1"),
            (Id::Ionice, ""),
            (Id::KernelInitrd, "a b"),
            (Id::MksquashfsParams, "-comp xz"),
            (Id::Revert, ""),
        ];
        assert_eq!(values, expected);
        assert_eq!(found.operands, ["foo"]);
        assert_eq!(line(&["-r", "1"]).unwrap().operands, ["1"]);
        for wrong in
            [&["-h"][..], &["--help"], &["-V"], &["--compress", "foo"], &["-b"], &["--backup"], &["-n"]]
        {
            assert!(line(wrong).is_err(), "{wrong:?}");
        }
    }
}
