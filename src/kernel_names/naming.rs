//! How a root names its kernels and their ramdisks (K50 to K53).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::{Error, Result};
use crate::kernel_names::assignments::Assignments;
use crate::kernel_names::sed;

/// A kernel among the published files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The file's name: `vmlinuz-6.1.0-9-amd64`.
    pub file: OsString,
    /// What its link's name begins with: `vmlinuz-`.
    pub stem: OsString,
    /// By this the newest is found: `6.1.0-9-`.
    pub version: OsString,
    /// What its link's name ends in: `amd64`.
    pub flavour: OsString,
}

impl Kernel {
    /// The name that the newest kernel of this flavour is linked to.
    pub fn link(&self) -> OsString {
        let mut name = self.stem.clone();
        name.push(&self.flavour);
        name
    }

    /// The whole line that a sed program prints for it, which decides between equals.
    pub fn line(&self) -> OsString {
        [&self.file, &self.stem, &self.version, &self.flavour].map(OsString::as_os_str).join(OsStr::new(" "))
    }
}

/// The naming of one root: Debian's, with which Ubuntu's agrees, unless the root says otherwise.
#[derive(Debug)]
pub struct Naming {
    programs: Assignments,
}

impl Naming {
    /// Debian's.
    pub const DEBIAN: Self = Self { programs: Assignments { kernel_names: None, initrd_name: None } };

    /// The naming by a root's own programs, where it has any.
    pub fn new(programs: Assignments) -> Self {
        Self { programs }
    }

    /// The kernels among `files`, which are names in one directory.
    ///
    /// # Errors
    /// When the root's program cannot be run.
    pub fn kernels(&self, files: &[OsString]) -> Result<Vec<Kernel>> {
        let Some(program) = &self.programs.kernel_names else {
            return Ok(files.iter().filter_map(|file| debian_kernel(file)).collect());
        };
        let lines = sed("KERNEL_NAMES", program, files)?;
        let kernels = lines.split(|&byte| byte == b'\n').filter_map(printed_kernel);
        // A program of a chroot must not have us link to anything else.
        Ok(kernels.filter(|kernel| files.contains(&kernel.file)).collect())
    }

    /// The name of the ramdisk that belongs to a kernel's file or link; empty if the root's program
    /// has none for it (K56).
    ///
    /// # Errors
    /// When the root's program cannot be run.
    pub fn ramdisk(&self, kernel: &OsStr) -> Result<OsString> {
        match &self.programs.initrd_name {
            None => Ok(debian_ramdisk(kernel)),
            Some(program) => {
                let printed = sed("INITRD_NAME", program, &[kernel.to_owned()])?;
                let end = printed.iter().rposition(|&byte| byte != b'\n').map_or(0, |last| last + 1);
                Ok(OsString::from_vec(printed[..end].to_vec()))
            }
        }
    }

    /// The kernel that a ramdisk by Debian's naming may belong to: `vmlinuz-V-F` for `initrd.img-V-F`.
    pub fn debian_kernel_of(ramdisk: &OsStr) -> Option<OsString> {
        let version = ramdisk.as_bytes().strip_prefix(b"initrd.img-")?;
        Some(OsString::from_vec([b"vmlinuz-", version].concat()))
    }
}

/// `vmlinuz-` or `vmlinux-` wherever it first comes, a version up to the second dash after it, and the
/// rest (K51).
fn debian_kernel(file: &OsStr) -> Option<Kernel> {
    let bytes = file.as_bytes();
    let stem = bytes.windows(8).position(|part| part == b"vmlinuz-" || part == b"vmlinux-")?;
    let (stem, rest) = bytes[stem..].split_at(8);
    let dashes = rest.iter().enumerate().filter(|(_, byte)| **byte == b'-');
    let version = dashes.map(|(position, _)| position).nth(1)? + 1;
    let (version, flavour) = rest.split_at(version);
    let [stem, version, flavour] = [stem, version, flavour].map(|part| OsStr::from_bytes(part).to_owned());
    Some(Kernel { file: file.to_owned(), stem, version, flavour })
}

/// `initrd.img` in place of the first `vmlinuz` or `vmlinux` (K52).
fn debian_ramdisk(kernel: &OsStr) -> OsString {
    let bytes = kernel.as_bytes();
    match bytes.windows(7).position(|part| part == b"vmlinuz" || part == b"vmlinux") {
        Some(place) => {
            OsString::from_vec([&bytes[..place], &b"initrd.img"[..], &bytes[place + 7..]].concat())
        }
        None => OsString::new(),
    }
}

/// Four fields separated by blanks; the last takes what is left.
fn printed_kernel(line: &[u8]) -> Option<Kernel> {
    let mut rest = line.trim_ascii();
    let mut field = || {
        let end = rest.iter().position(|byte| b" \t".contains(byte)).unwrap_or(rest.len());
        let (field, left) = rest.split_at(end);
        rest = left.trim_ascii_start();
        OsStr::from_bytes(field).to_owned()
    };
    let (file, stem, version) = (field(), field(), field());
    let flavour = OsStr::from_bytes(rest).to_owned();
    (!file.is_empty()).then_some(Kernel { file, stem, version, flavour })
}

/// What a sed program from a root prints for these lines.
fn sed(variable: &str, program: &OsStr, lines: &[OsString]) -> Result<Vec<u8>> {
    // A line break in a name would make it two.
    let lines = lines.iter().filter(|line| !line.as_bytes().contains(&b'\n')).cloned();
    let lines: Vec<OsString> = lines.collect();
    sed::run("-n", program, &lines)?.map_err(|reason| {
        Error::action(format!("use the sed program {variable} of update-kernels.conf"), reason)
            .hint("correct it in etc/ltsp/update-kernels.conf of the chroot")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(naming: &Naming, files: &[&str]) -> Vec<[String; 4]> {
        let files: Vec<OsString> = files.iter().map(OsString::from).collect();
        let kernels = naming.kernels(&files).unwrap();
        let fields = kernels.into_iter().map(|k| [k.file, k.stem, k.version, k.flavour]);
        fields.map(|fields| fields.map(|field| field.into_string().unwrap())).collect()
    }

    fn by_programs(kernel_names: &str, initrd_name: &str) -> Naming {
        let set = |value: &str| Some(OsString::from(value)).filter(|value| !value.is_empty());
        Naming::new(Assignments { kernel_names: set(kernel_names), initrd_name: set(initrd_name) })
    }

    // K51
    const EXAMPLES: [(&str, Option<[&str; 3]>); 8] = [
        ("vmlinuz-5.4.0-42-generic", Some(["vmlinuz-", "5.4.0-42-", "generic"])),
        ("vmlinuz-4.19.0-9-686-pae", Some(["vmlinuz-", "4.19.0-9-", "686-pae"])),
        ("vmlinux-4.19.0-9-powerpc64", Some(["vmlinux-", "4.19.0-9-", "powerpc64"])),
        ("vmlinuz-5.4.0-42-generic.efi.signed", Some(["vmlinuz-", "5.4.0-42-", "generic.efi.signed"])),
        ("vmlinuz-5.4.0-42-", Some(["vmlinuz-", "5.4.0-42-", ""])),
        ("vmlinuz-5.10.0", None),
        ("vmlinuz-4.9.0-custom", None),
        ("initrd.img-5.4.0-42-generic", None),
    ];

    // K51
    #[test]
    fn kernels_of_debian_are_found_with_their_versions_and_flavours() {
        for (file, expected) in EXAMPLES {
            let found = kernels(&Naming::DEBIAN, &[file]);
            let expected = expected.map(|[stem, version, flavour]| [file, stem, version, flavour]);
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{file}");
        }
        let inside = ["old.vmlinuz-5-1-a", "vmlinuz-", "5-1-", "a"];
        assert_eq!(kernels(&Naming::DEBIAN, &["old.vmlinuz-5-1-a"]), [inside]);
    }

    // K52
    #[test]
    fn ramdisks_of_debian_are_called_initrd_img() {
        for (kernel, ramdisk) in [
            ("vmlinuz-5.4.0-42-generic", "initrd.img-5.4.0-42-generic"),
            ("vmlinux-generic", "initrd.img-generic"),
            ("vmlinuz-vmlinux", "initrd.img-vmlinux"),
            ("kernel-1", ""),
        ] {
            assert_eq!(Naming::DEBIAN.ramdisk(kernel.as_ref()).unwrap(), ramdisk);
        }
    }

    // K50, K51
    #[test]
    fn a_program_of_the_root_finds_the_same_kernels_as_the_built_in_naming() {
        let naming = by_programs(
            r"h; s/^\(vmlinu[zx]-\)\(\([^-]*-\)\{2\}\)/\1 \2 /; T; H; x; s/\n/ /; p",
            "s/vmlinu[zx]/initrd.img/;p",
        );
        let files: Vec<&str> = EXAMPLES.iter().map(|(file, _)| *file).collect();
        assert_eq!(kernels(&naming, &files), kernels(&Naming::DEBIAN, &files));
        for file in files {
            let built_in = Naming::DEBIAN.ramdisk(file.as_ref()).unwrap();
            if !built_in.is_empty() {
                assert_eq!(naming.ramdisk(file.as_ref()).unwrap(), built_in);
            }
        }
    }

    // K53
    #[test]
    fn red_hats_kernels_all_have_the_flavour_ltsp() {
        let naming = by_programs(
            r"/^vmlinuz-[1-9]/s/vmlinuz-\(.*\)/& vmlinuz- \1 ltsp/p",
            r"s/^vmlinuz\(.*\)$/initramfs\1.img/p",
        );
        let found = kernels(&naming, &["vmlinuz-3.10.0-957.el7.x86_64", "vmlinuz-0-rescue-1", "x"]);
        assert_eq!(found, [["vmlinuz-3.10.0-957.el7.x86_64", "vmlinuz-", "3.10.0-957.el7.x86_64", "ltsp"]]);
        assert_eq!(naming.ramdisk("vmlinuz-ltsp".as_ref()).unwrap(), "initramfs-ltsp.img");
        assert_eq!(naming.ramdisk("kernel".as_ref()).unwrap(), ""); // K56
    }

    // D27
    #[test]
    fn a_program_of_the_root_can_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let witness = dir.path().join("written");
        for program in
            [format!("w {}", witness.display()), format!("1e touch {}", witness.display()), "}".to_owned()]
        {
            assert!(by_programs(&program, "").kernels(&["vmlinuz-1-1-a".into()]).is_err(), "{program}");
        }
        assert!(!witness.exists());
        let elsewhere = by_programs("s,.*,../../etc/passwd a b c,p", "");
        assert!(kernels(&elsewhere, &["vmlinuz-1-1-a"]).is_empty());
        let endless = by_programs("", ":a;ba");
        assert!(endless.ramdisk("vmlinuz-1-1-a".as_ref()).is_err());
    }
}
