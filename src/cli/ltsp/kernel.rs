//! `ltsp kernel` (K1), by itself and as the last step of `ltsp image` (I40).

use std::ffi::{OsStr, OsString};

use super::Outcome;
use crate::cli::getopt::{Argument, CommandLine, OptionSpec};
use crate::cli::help;
use crate::config::modern::Globals;
use crate::config::settings::Step;
use crate::error::Result;
use crate::run::kernels;
use crate::site::{Site, Start, drop_ins::Stage, hooks::When};
use crate::sys::coprocess::Output;
use crate::sys::{namespace, signals};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Id {
    KernelInitrd,
}

/// The help for an option that `ltsp image` has, too.
pub(super) const KERNEL_INITRD: &str = "A pattern of kernels, a blank, and the sed expression that makes a kernel's path its ramdisk's. \
     Looked for before the usual names. Variable: KERNEL_INITRD.";

const OPTIONS: &[OptionSpec<Id>] = &[OptionSpec::new(
    Id::KernelInitrd,
    Some(b'k'),
    "kernel-initrd",
    Argument::Required("GLOB REGEX"),
    KERNEL_INITRD,
)];

pub(super) fn help_text() -> String {
    format!(
        "\
Usage: ltsp [OPTION]... kernel [OPTION]... [SOURCE]...

Copies the kernel and the initial ramdisk of each SOURCE to where clients load
them: TFTP_DIR/ltsp/NAME/vmlinuz and initrd.img. `ltsp image` does so after
each image.

SOURCE is what `ltsp image` takes: the name of a chroot, a virtual machine or
an image in the base directory, or a path. Without one, all of them are taken.

Options:
{}
Examples:
  ltsp kernel
  ltsp kernel /srv/ltsp/images/debian.img
  ltsp kernel -k 'boot/Image* s,Image,initrd.img,' pine64

Settings: ALL_IMAGES, BASE_DIR, KERNEL_INITRD, OMIT_FUNCTIONS, RPI_IMAGE,
TFTP_DIR, PRE_KERNEL_* and POST_KERNEL_* in the environment or in
/etc/ltsp/ltsp.conf.
See ltsp(8) and ltsp-kernel(8).
",
        help::options(OPTIONS)
    )
}

pub(super) fn main(globals: &Globals, words: Vec<OsString>) -> Outcome {
    signals::catch()?;
    let parsed = super::parsed("kernel", OPTIONS, words, help_text);
    let mut applet = KernelApplet::load(globals, Output::Ours, false, std::env::vars_os())?;
    // Before mistakes in options (F13, F35).
    applet.site.run_hooks(When::Before)?;
    let line = parsed?;
    for given in &line.options {
        let Id::KernelInitrd = given.id;
        super::assign(&mut applet.site, "KERNEL_INITRD", given.value(), "kernel-initrd");
    }
    let CommandLine { operands, .. } = line;
    namespace::private_mounts()?;
    applet.copy(operands)?;
    applet.site.run_hooks(When::After)?;
    Ok(())
}

/// The applet with its surroundings.
pub(super) struct KernelApplet {
    site: Site,
}

impl KernelApplet {
    pub(super) fn load(
        globals: &Globals,
        output: Output,
        dry_run: bool,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let start = Start { applet: "kernel", globals, output, dry_run };
        Ok(Self { site: Site::load(start, super::places(), environment)? })
    }

    /// One whole run for one image: hooks, drop-in scripts, copying (I40). `kernel_initrd` wins over
    /// configuration. To be called in a private mount namespace.
    pub(super) fn run(&mut self, image: &OsStr, kernel_initrd: Option<&OsStr>) -> Result<()> {
        self.site.run_hooks(When::Before)?;
        if let Some(value) = kernel_initrd.filter(|value| !value.is_empty()) {
            super::assign(&mut self.site, "KERNEL_INITRD", value, "kernel-initrd");
        }
        self.copy(vec![image.to_owned()])?;
        self.site.run_hooks(When::After)
    }

    fn copy(&mut self, sources: Vec<OsString>) -> Result<()> {
        let arguments: Vec<&OsStr> = sources.iter().map(OsString::as_os_str).collect();
        self.site.call(Stage::Start, &arguments, None)?;
        let settings = self.site.kernel_settings(sources.clone())?;
        if settings.omitted.contains(&Step::Kernel) {
            log::info!("Omitting kernel_main");
        } else {
            kernels::update(&settings)?;
        }
        self.site.call(Stage::End, &arguments, None)?;
        self.site.undo()?;
        self.site.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::getopt;

    #[test]
    fn the_table_the_help_text_and_the_manual_page_agree() {
        help::check_table(OPTIONS, &help_text(), include_str!("../../../man/ltsp-kernel.8"));
    }

    // K1, F2
    #[test]
    fn the_option_takes_one_value_in_every_form() {
        for words in [["-k", "a b", "foo"], ["--kernel-initrd", "a b", "foo"], ["foo", "--k=a b", "--"]] {
            let line = getopt::parse(OPTIONS, words.map(OsString::from), false).unwrap();
            assert_eq!(line.options[0].value(), "a b");
            assert_eq!(line.operands, ["foo"]);
        }
        assert!(getopt::parse(OPTIONS, ["--help".into()], false).is_err());
        assert!(getopt::parse(OPTIONS, ["-h".into()], false).is_err());
    }
}
