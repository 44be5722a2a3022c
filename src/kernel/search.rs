//! Where `ltsp kernel` looks for a kernel and its initial ramdisk (K7 to K15).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::config::settings::KernelRule;
use crate::error::{Error, Result, shown};
use crate::kernel_names::{sed, version_sort};
use crate::sys::confined::Root;
use crate::sys::fnmatch;

/// A kernel and the initial ramdisk that belongs to it, as paths in their root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initial ramdisk.
    pub initrd: PathBuf,
}

/// One kind of system: what its kernels are called, and how a kernel's path becomes that of its ramdisk.
struct Row {
    /// A pattern of paths, relative to the root and to `boot` (K8).
    kernel: &'static str,
    /// The first such text in the path ...
    from: &'static str,
    /// ... becomes this one,
    to: &'static str,
    /// and this is put behind the path.
    end: &'static str,
}

const fn row(kernel: &'static str, from: &'static str, to: &'static str, end: &'static str) -> Row {
    Row { kernel, from, to, end }
}

/// In the order in which they are tried: the first one that yields a pair decides (K7). Live systems come
/// before installed ones, and links, which their owner may have set, before the newest version (K11).
const ROWS: [Row; 11] = [
    row("boot/*/loader/linux", "linux", "initrd", ""), // openSUSE, live
    row("casper/vmlinuz", "vmlinuz", "initrd", ""),    // Ubuntu since 18.10, live
    row("casper/vmlinuz", "vmlinuz", "initrd.lz", ""), // Ubuntu and Mint before that, live
    row("casper/vmlinuz", "vmlinuz", "initrd.gz", ""), // Ubuntu 8.04, live
    row("install.amd/vmlinuz", "vmlinuz", "initrd.gz", ""), // Debian's installer
    row("isolinux/vmlinuz", "vmlinuz", "initrd.img", ""), // Fedora, live
    row("live/vmlinuz-*", "vmlinuz", "initrd.img", ""), // Debian, live
    row("vmlinuz", "vmlinuz", "initrd.img", ""),       // Debian's links
    row("vmlinuz-*", "vmlinuz", "initrd.img", ""),     // Debian, Ubuntu
    row("vmlinuz-*", "vmlinuz-", "initramfs-", ".img"), // CentOS, Gentoo
    row("vmlinuz", "vmlinuz", "core.gz", ""),          // Tiny Core
];

/// The places that patterns are relative to (K8).
const PLACES: [&str; 2] = ["", "boot"];

/// The pair to boot from: by the admin's rules, and if these find nothing by our table (K14). Links are
/// followed inside the root (K12).
///
/// # Errors
/// When the root cannot be read. A rule that sed does not understand is only warned about, and finds
/// nothing.
pub fn find(root: &Root, rules: &[KernelRule]) -> Result<Option<Pair>> {
    for rule in rules {
        let pairs = pairs(root, &rule.glob, |kernel| by_expression(rule, kernel))?;
        if let Some(newest) = newest(pairs) {
            return Ok(usable(newest));
        }
    }
    for row in &ROWS {
        let pairs = pairs(root, row.kernel.as_ref(), |kernel| Ok(row.initrd(kernel)))?;
        if let Some(newest) = newest(pairs) {
            return Ok(usable(newest));
        }
    }
    Ok(None)
}

/// A pair that decides, unless a blank in the kernel's name makes it count as missing (K13).
fn usable(pair: Pair) -> Option<Pair> {
    if pair.kernel.as_os_str().as_bytes().iter().any(|byte| b" \t".contains(byte)) {
        log::warn!("the kernel {} cannot be used: there is a blank in its name", shown(&pair.kernel));
        return None;
    }
    Some(pair)
}

/// What there is that may have been meant as kernel or ramdisk, for the message that none was found (U6).
///
/// # Errors
/// When the root cannot be read.
pub fn seen(root: &Root) -> Result<String> {
    let Some(entries) = root.entries("boot")? else { return Ok("it has no directory boot".to_owned()) };
    let files: Vec<String> =
        entries.iter().filter(|entry| !entry.kind.is_dir()).map(|e| shown(&e.name)).collect();
    if files.is_empty() {
        return Ok("its directory boot is empty".to_owned());
    }
    Ok(format!("its directory boot holds {}", files.join(", ")))
}

impl Row {
    /// The path of the ramdisk; none if nothing of the path is replaced (K9).
    fn initrd(&self, kernel: &Path) -> Option<PathBuf> {
        let bytes = kernel.as_os_str().as_bytes();
        let from = self.from.as_bytes();
        let at = bytes.windows(from.len()).position(|part| part == from)?;
        let initrd =
            [&bytes[..at], self.to.as_bytes(), &bytes[at + from.len()..], self.end.as_bytes()].concat();
        Some(OsString::from_vec(initrd).into())
    }
}

/// What sed makes of a path by the admin's expression (K9, K14).
fn by_expression(rule: &KernelRule, kernel: &Path) -> Result<Option<PathBuf>> {
    // A line break in a name would make it two lines; nobody's expression is meant for that.
    if kernel.as_os_str().as_bytes().contains(&b'\n') {
        return Ok(None);
    }
    match sed::run("", &rule.expression, &[kernel.into()])? {
        Ok(printed) => {
            let end = printed.iter().rposition(|&byte| byte != b'\n').map_or(0, |last| last + 1);
            Ok(Some(OsStr::from_bytes(&printed[..end]).into()))
        }
        Err(said) => {
            let error = Error::action(
                format!("use the expression `{}` of KERNEL_INITRD", shown(&rule.expression)),
                said,
            );
            log::warn!("{error}");
            Ok(None)
        }
    }
}

/// All kernels that fit a pattern and have their ramdisk (K10). Paths are as if the root were `/`.
fn pairs(
    root: &Root,
    pattern: &OsStr,
    initrd: impl Fn(&Path) -> Result<Option<PathBuf>>,
) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for place in PLACES {
        for kernel in fitting(root, &Path::new("/").join(place), pattern)? {
            let Some(initrd) = initrd(&kernel)?.filter(|initrd| *initrd != kernel) else { continue };
            if root.is_file(&initrd)? {
                pairs.push(Pair { kernel, initrd });
            }
        }
    }
    Ok(pairs)
}

/// The regular files that a pattern fits, as a shell would expand it below this directory: `*` fits neither
/// a slash nor a dot at the start (K8).
fn fitting(root: &Root, directory: &Path, pattern: &OsStr) -> Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_owned()];
    for part in pattern.as_bytes().split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        let part = OsStr::from_bytes(part);
        if !part.as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut deeper = Vec::new();
        for path in &found {
            let entries = root.entries(path)?.unwrap_or_default();
            let names = entries.into_iter().map(|entry| entry.name);
            deeper
                .extend(names.filter(|name| fnmatch::matches_plain(part, name)).map(|name| path.join(name)));
        }
        found = deeper;
    }
    let mut files = Vec::new();
    for path in found {
        if root.is_file(&path)? {
            files.push(path);
        }
    }
    Ok(files)
}

/// The last one in the order of versions, by both paths as one line (K10).
fn newest(pairs: Vec<Pair>) -> Option<Pair> {
    let line =
        |pair: &Pair| [pair.kernel.as_os_str(), pair.initrd.as_os_str()].join(OsStr::new("\t")).into_vec();
    pairs.into_iter().max_by(|a, b| {
        let (a, b) = (line(a), line(b));
        version_sort::compare(&a, &b).then_with(|| a.cmp(&b))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root with these files; `a -> b` is a link.
    fn root(files: &[&str]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let (file, target) = file.split_once(" -> ").map_or((*file, None), |(a, b)| (a, Some(b)));
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match target {
                Some(target) => symlink(target, path).unwrap(),
                None => fs::write(path, file).unwrap(),
            }
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn found(files: &[&str], rules: &[KernelRule]) -> Option<(String, String)> {
        let (_dir, root) = root(files);
        let pair = find(&root, rules).unwrap()?;
        let text = |path: PathBuf| path.to_str().unwrap().trim_start_matches('/').to_owned();
        Some((text(pair.kernel), text(pair.initrd)))
    }

    fn rule(line: &str) -> KernelRule {
        let (glob, expression) = line.split_once(' ').unwrap_or((line, ""));
        KernelRule { glob: glob.into(), expression: expression.into() }
    }

    // K7, K8: every row, in its order, in both places.
    #[test]
    fn each_kind_of_system_is_known_and_live_ones_come_first() {
        let kinds = [
            ("boot/x86/loader/linux", "boot/x86/loader/initrd"),
            ("casper/vmlinuz", "casper/initrd"),
            ("casper/vmlinuz", "casper/initrd.lz"),
            ("casper/vmlinuz", "casper/initrd.gz"),
            ("install.amd/vmlinuz", "install.amd/initrd.gz"),
            ("isolinux/vmlinuz", "isolinux/initrd.img"),
            ("live/vmlinuz-6.1", "live/initrd.img-6.1"),
            ("vmlinuz", "initrd.img"),
            ("vmlinuz-6.1", "initrd.img-6.1"),
            ("vmlinuz-6.1", "initramfs-6.1.img"),
            ("vmlinuz", "core.gz"),
        ];
        for place in ["", "boot/"] {
            let kinds: Vec<_> =
                kinds.iter().map(|(a, b)| (format!("{place}{a}"), format!("{place}{b}"))).collect();
            for first in 0..kinds.len() {
                let files: Vec<&str> = kinds[first..].iter().flat_map(|(a, b)| [a.as_str(), b]).collect();
                assert_eq!(found(&files, &[]), Some(kinds[first].clone()), "{files:?}");
            }
        }
        assert_eq!(found(&["boot/vmlinuz-6.1", "boot/config-6.1", "boot/initrd.img"], &[]), None);
        assert_eq!(found(&[], &[]), None);
        // K9: the first such text in the path.
        assert_eq!(found(&["boot/a-linux/loader/linux", "boot/a-linux/loader/initrd"], &[]), None);
    }

    // K10, K11
    #[test]
    fn the_newest_version_that_has_its_ramdisk_is_taken_unless_links_say_otherwise() {
        for (versions, expected) in [
            (&["6.1.0-9", "6.1.0-10"][..], "6.1.0-10"),
            (&["5.10.0-8-amd64", "5.10.0-21-amd64", "5.10.0-9-rt"], "5.10.0-21-amd64"),
            (&["6.1", "6.1.old", "6.1~rc1"], "6.1.old"),
            (&["6.1~rc1", "6.1"], "6.1"),
        ] {
            let files: Vec<String> = versions
                .iter()
                .flat_map(|v| [format!("boot/vmlinuz-{v}"), format!("boot/initrd.img-{v}")])
                .collect();
            let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
            files.push("boot/vmlinuz-99");
            let expected = (format!("boot/vmlinuz-{expected}"), format!("boot/initrd.img-{expected}"));
            assert_eq!(found(&files, &[]), Some(expected), "{versions:?}");
        }
        // A kernel in the root goes before one in boot.
        let files = ["vmlinuz-1", "initrd.img-1", "boot/vmlinuz-2", "boot/initrd.img-2"];
        assert_eq!(found(&files, &[]).unwrap().0, "vmlinuz-1");
        let files = [
            "boot/vmlinuz-2",
            "boot/initrd.img-2",
            "boot/vmlinuz -> vmlinuz-1",
            "boot/vmlinuz-1",
            "boot/initrd.img",
        ];
        assert_eq!(found(&files, &[]).unwrap().0, "boot/vmlinuz");
    }

    // K12
    #[test]
    fn absolute_links_are_followed_inside_the_root() {
        let links = ["vmlinuz -> /boot/vmlinuz-6.1", "initrd.img -> /boot/initrd.img-6.1"];
        let inside = ["boot/vmlinuz-6.1", "boot/initrd.img-6.1"];
        assert_eq!(found(&[&links[..], &inside].concat(), &[]).unwrap().0, "vmlinuz");
        let outside = ["vmlinuz -> /etc/passwd", "initrd.img -> /etc/group"];
        assert_eq!(found(&outside, &[]), None);
    }

    // K14, K15
    #[test]
    fn the_admins_rules_come_first_and_the_table_is_still_used() {
        let files =
            ["boot/Image", "boot/initrd.img-3.16", "boot/vmlinuz-1", "boot/initrd.img-1", "boot/.Image"];
        let image = Some(("boot/Image".to_owned(), "boot/initrd.img-3.16".to_owned()));
        let usual = Some(("boot/vmlinuz-1".to_owned(), "boot/initrd.img-1".to_owned()));
        for (lines, expected) in [
            (&["boot/Im* s,Image,initrd.img-3.16,"][..], &image),
            (&["Im* s,Image,initrd.img-3.16,"], &image),
            (&["/boot/Image s/.*/\\/boot\\/initrd.img-3.16/"], &image),
            (&["none x", "[HI]mage s,$,x,;s,Imagex,initrd.img-3.16,"], &image),
            (&["Image"], &usual),
            (&["Image s,x,y,"], &usual),
            (&["Image s,Image,initrd.img-1,w /tmp/x"], &usual),
            (&["Image e"], &usual),
            (&["Image s,Image,missing,"], &usual),
            (&["*mage s,Image,../../../../etc/passwd,"], &usual),
        ] {
            let rules: Vec<KernelRule> = lines.iter().map(|line| rule(line)).collect();
            assert_eq!(found(&files, &rules), *expected, "{lines:?}");
        }
    }

    // K13
    #[test]
    fn a_kernel_with_a_blank_in_its_name_counts_as_missing() {
        let files = ["boot/vmlinuz-2 own", "boot/initrd.img-2 own", "boot/vmlinuz-1", "boot/initrd.img-1"];
        assert_eq!(found(&files, &[]), None);
        assert_eq!(
            found(&["boot/vmlinuz", "boot/my initrd"], &[rule("vmlinuz s/vmlinuz/my initrd/")]).unwrap().1,
            "boot/my initrd"
        );
    }

    // U6
    #[test]
    fn what_was_seen_is_told() {
        let (_dir, with) = root(&["boot/Image", "boot/grub/grub.cfg", "boot/config-6.1"]);
        assert_eq!(seen(&with).unwrap(), "its directory boot holds Image, config-6.1");
        let (_dir, empty) = root(&["boot/grub/grub.cfg"]);
        assert_eq!(seen(&empty).unwrap(), "its directory boot is empty");
        let (_dir, without) = root(&[]);
        assert_eq!(seen(&without).unwrap(), "it has no directory boot");
    }
}
