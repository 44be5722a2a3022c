//! `ltsp kernel` (K1), by itself and as the last step of `ltsp image` (I40).

use std::ffi::OsString;

use super::Outcome;
use crate::cli::getopt::{Argument, CommandLine, OptionSpec};
use crate::cli::help;
use crate::config::modern::Globals;
use crate::run::kernels::KernelApplet;
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
    let mut applet = KernelApplet::load(globals, super::places(), Output::Ours, false, std::env::vars_os())?;
    // Before mistakes in options (F13, F35).
    applet.before()?;
    let CommandLine { options, operands } = parsed?;
    for given in &options {
        let Id::KernelInitrd = given.id;
        applet.use_kernel_initrd(given.value());
    }
    namespace::private_mounts()?;
    applet.work(operands)?;
    Ok(())
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
