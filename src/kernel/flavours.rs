//! Stable names for the newest kernel of each flavour (K50, K55 to K57, D37).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{FileType, readlinkat};

use crate::error::{During, Error, Result, shown};
use crate::kernel::replace;
use crate::kernel_names::naming::{Kernel, Naming};
use crate::kernel_names::version_sort::compare;
use crate::sys::confined::Root;
use crate::sys::signals;

/// Links the newest kernel of each flavour that has a ramdisk, and that ramdisk, as if the entries
/// `leaving` were gone already. Returns the links of earlier runs that then lead nowhere.
///
/// # Errors
/// When a link cannot be made, or the root's naming has no ramdisk's name for a kernel (K56).
pub fn link(target: &Root, naming: &Naming, leaving: &BTreeSet<OsString>) -> Result<Vec<OsString>> {
    let names = |kind: FileType| -> Result<Vec<OsString>> {
        let entries = target.entries("")?.unwrap_or_default().into_iter();
        let kept = entries.filter(|entry| entry.kind == kind && !leaving.contains(&entry.name));
        Ok(kept.map(|entry| entry.name).collect())
    };
    let files = names(FileType::RegularFile)?;
    let mut namings = vec![&Naming::DEBIAN];
    match naming.kernels(&files) {
        Ok(kernels) => {
            link_newest(target, naming, leaving, kernels)?;
            namings.push(naming);
        }
        Err(error) => {
            signals::check()?;
            log::warn!("{error}"); // the kernels are there, only without stable names (K58)
        }
    }
    leading_nowhere(target, &names(FileType::Symlink)?, leaving, &namings)
}

fn link_newest(
    target: &Root,
    naming: &Naming,
    leaving: &BTreeSet<OsString>,
    mut kernels: Vec<Kernel>,
) -> Result<()> {
    kernels.sort_by(|a, b| {
        let flavours = compare(a.flavour.as_bytes(), b.flavour.as_bytes());
        let newest_first = || compare(b.version.as_bytes(), a.version.as_bytes());
        flavours.then_with(newest_first).then_with(|| a.line().cmp(&b.line()))
    });
    let mut linked: BTreeMap<OsString, OsString> = BTreeMap::new(); // flavour, version
    let mut made = BTreeSet::new();
    for kernel in kernels.iter().filter(|kernel| !kernel.flavour.is_empty()) {
        let link = kernel.link();
        // The same kernel as vmlinux and as vmlinuz: both, as they share the ramdisk (D37).
        let older = linked.get(&kernel.flavour).is_some_and(|version| *version != kernel.version);
        if older || made.contains(&link) {
            continue;
        }
        let ramdisk = naming.ramdisk(&kernel.file)?;
        if !ramdisk.is_empty() && (leaving.contains(&ramdisk) || !is_there(target, &ramdisk)?) {
            log::warn!(
                "no link to the kernel {}: its ramdisk {} is missing",
                shown(target.shown(&kernel.file)),
                shown(&ramdisk)
            );
            continue;
        }
        link_pair(target, naming, kernel, &ramdisk)?;
        linked.insert(kernel.flavour.clone(), kernel.version.clone());
        made.insert(link);
    }
    Ok(())
}

fn link_pair(target: &Root, naming: &Naming, kernel: &Kernel, ramdisk: &OsStr) -> Result<()> {
    let link = kernel.link();
    let ramdisk_link = naming.ramdisk(&link)?;
    let unusable = |name: &OsStr| !name.is_empty() && !is_name(name);
    if let Some(name) = [&link, &ramdisk_link].into_iter().find(|name| unusable(name)) {
        return Err(Error::new("make the link", name, "it would be outside the directory of its kernel")
            .hint("correct KERNEL_NAMES and INITRD_NAME in etc/ltsp/update-kernels.conf of the chroot"));
    }
    replace::link(target, &kernel.file, &link)?;
    if ramdisk.is_empty() || ramdisk_link.is_empty() {
        let file = target.shown(if ramdisk.is_empty() { &kernel.file } else { &link });
        return Err(Error::new("link the ramdisk of", file, "INITRD_NAME gives no name for it")
            .hint("correct INITRD_NAME in etc/ltsp/update-kernels.conf of the chroot"));
    }
    replace::link(target, ramdisk, &ramdisk_link)
}

/// Those of `links` that an earlier run made, to files that are not there any more (D37): their name
/// is the one that the kernel or ramdisk they lead to would be linked by.
fn leading_nowhere(
    target: &Root,
    links: &[OsString],
    leaving: &BTreeSet<OsString>,
    namings: &[&Naming],
) -> Result<Vec<OsString>> {
    let mut dangling: BTreeMap<OsString, OsString> = BTreeMap::new(); // link, file
    for link in links {
        let text = readlinkat(target, link, Vec::new()).during("read the link", target.shown(link))?;
        let file = OsString::from_vec(text.into_bytes());
        if is_name(&file) && (leaving.contains(&file) || target.stat(&file)?.is_none()) {
            dangling.insert(link.clone(), file);
        }
    }
    let mut found = BTreeSet::new();
    for naming in namings {
        // A ramdisk's link may be left alone: then it is found by the kernel that it belonged to.
        let mut files: Vec<OsString> = dangling.values().cloned().collect();
        files.extend(dangling.values().filter_map(|file| Naming::debian_kernel_of(file)));
        for kernel in naming.kernels(&files)? {
            let (link, ramdisk) = (kernel.link(), naming.ramdisk(&kernel.file)?);
            let pair = [(naming.ramdisk(&link)?, ramdisk), (link, kernel.file)];
            found.extend(pair.into_iter().filter(|(link, file)| dangling.get(link) == Some(file)));
        }
    }
    Ok(found.into_iter().map(|(link, _)| link).collect())
}

/// Whether the text is the name of something in the same directory.
fn is_name(text: &OsStr) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.as_bytes().contains(&b'/')
}

fn is_there(target: &Root, name: &OsStr) -> Result<bool> {
    Ok(is_name(name) && target.stat(name)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_names::assignments::Assignments;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn target(files: &[&str], links: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(dir.path().join(file), "").unwrap();
        }
        for (link, file) in links {
            symlink(file, dir.path().join(link)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    /// All links, as `name -> target`.
    fn links(target: &Root) -> Vec<String> {
        let entries = target.entries("").unwrap().unwrap().into_iter();
        let links = entries.filter(|entry| entry.kind == FileType::Symlink).map(|entry| {
            let text = fs::read_link(target.shown(&entry.name)).unwrap();
            format!("{} -> {}", entry.name.to_str().unwrap(), text.to_str().unwrap())
        });
        links.collect()
    }

    fn kernels(versions: &[&str]) -> Vec<String> {
        versions.iter().flat_map(|v| [format!("vmlinuz-{v}"), format!("initrd.img-{v}")]).collect()
    }

    // K50, K52, K54
    #[test]
    fn the_newest_kernel_of_each_flavour_is_linked() {
        let versions = ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-686-pae", "6.1.0-5-686-pae"];
        let files = kernels(&versions);
        let files: Vec<&str> = files.iter().map(String::as_str).chain(["vmlinuz-5.10.0"]).collect();
        let (_dir, target) = target(&files, &[("vmlinuz-amd64", "vmlinuz-6.1.0-9-amd64")]);
        let gone = link(&target, &Naming::DEBIAN, &BTreeSet::new()).unwrap();
        assert!(gone.is_empty());
        assert_eq!(
            links(&target),
            [
                "initrd.img-686-pae -> initrd.img-6.1.0-10-686-pae",
                "initrd.img-amd64 -> initrd.img-6.1.0-10-amd64",
                "vmlinuz-686-pae -> vmlinuz-6.1.0-10-686-pae",
                "vmlinuz-amd64 -> vmlinuz-6.1.0-10-amd64",
            ]
        );
    }

    // K50, K51
    #[test]
    fn a_kernel_without_a_ramdisk_gives_way_to_the_next_older_one() {
        let files = ["vmlinuz-6-2-a", "vmlinuz-6-1-a", "initrd.img-6-1-a", "vmlinuz-6-1-b", "vmlinuz-6-1-"];
        let (_dir, target) = target(&files, &[("initrd.img-6-1-b", "nowhere")]);
        link(&target, &Naming::DEBIAN, &BTreeSet::new()).unwrap();
        let expected =
            ["initrd.img-6-1-b -> nowhere", "initrd.img-a -> initrd.img-6-1-a", "vmlinuz-a -> vmlinuz-6-1-a"];
        assert_eq!(links(&target), expected);
    }

    // D37
    #[test]
    fn a_kernel_that_is_about_to_go_is_not_linked_and_its_old_links_are_found() {
        let files = kernels(&["6-2-a", "6-1-a", "6-2-b"]);
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let old = [("vmlinuz-a", "vmlinuz-6-2-a"), ("vmlinuz-b", "vmlinuz-6-2-b")];
        let (_dir, target) = target(&files, &old);
        let leaving = kernels(&["6-2-a", "6-2-b"]).into_iter().map(OsString::from).collect();
        let gone = link(&target, &Naming::DEBIAN, &leaving).unwrap();
        assert_eq!(gone, ["vmlinuz-b"]);
        let expected =
            ["initrd.img-a -> initrd.img-6-1-a", "vmlinuz-a -> vmlinuz-6-1-a", "vmlinuz-b -> vmlinuz-6-2-b"];
        assert_eq!(links(&target), expected);
    }

    // D37
    #[test]
    fn only_dangling_links_of_our_own_making_are_taken_away() {
        let (_dir, target) = target(
            &["vmlinuz-5-1-there"],
            &[
                ("vmlinuz-rt", "vmlinuz-5-1-rt"),
                ("initrd.img-rt", "initrd.img-5-1-rt"),
                ("initrd.img-alone", "initrd.img-5-1-alone"),
                ("vmlinux-ppc", "vmlinux-5-1-ppc"),
                ("vmlinuz-there", "vmlinuz-5-1-there"),
                ("vmlinuz-mine", "vmlinuz-5-1-other"),
                ("vmlinuz-x", "/ltsp/vmlinuz-5-1-x"),
                ("mine", "gone"),
            ],
        );
        let gone = link(&target, &Naming::DEBIAN, &BTreeSet::new()).unwrap();
        assert_eq!(gone, ["initrd.img-alone", "initrd.img-rt", "vmlinux-ppc", "vmlinuz-rt"]);
    }

    // K55, D37
    #[test]
    fn one_kernel_as_vmlinux_and_vmlinuz_gets_both_links() {
        let files =
            ["vmlinux-6-1-a", "vmlinuz-6-1-a", "vmlinux-5-1-a", "initrd.img-6-1-a", "initrd.img-5-1-a"];
        let (_dir, target) = target(&files, &[]);
        link(&target, &Naming::DEBIAN, &BTreeSet::new()).unwrap();
        let expected =
            ["initrd.img-a -> initrd.img-6-1-a", "vmlinux-a -> vmlinux-6-1-a", "vmlinuz-a -> vmlinuz-6-1-a"];
        assert_eq!(links(&target), expected);
    }

    fn by_programs(kernel_names: &str, initrd_name: &str) -> Naming {
        Naming::new(Assignments {
            kernel_names: Some(kernel_names.into()),
            initrd_name: Some(initrd_name.into()),
        })
    }

    // K53
    #[test]
    fn the_roots_own_naming_is_used() {
        let files = ["vmlinuz-3.10.0-957", "vmlinuz-3.10.0-1062", "initramfs-3.10.0-957.img", "x"];
        let (_dir, target) = target(&files, &[("vmlinuz-ltsp", "vmlinuz-3.10.0-900")]);
        let naming = by_programs(
            r"/^vmlinuz-[1-9]/s/vmlinuz-\(.*\)/& vmlinuz- \1 ltsp/p",
            r"s/^vmlinuz\(.*\)$/initramfs\1.img/p",
        );
        link(&target, &naming, &BTreeSet::new()).unwrap();
        let expected =
            ["initramfs-ltsp.img -> initramfs-3.10.0-957.img", "vmlinuz-ltsp -> vmlinuz-3.10.0-957"];
        assert_eq!(links(&target), expected);
    }

    // K56
    #[test]
    fn a_naming_without_a_name_for_the_ramdisk_is_an_error() {
        let (_dir, target) = target(&["vmlinuz-1-1-a"], &[]);
        let naming = Naming::new(Assignments { kernel_names: None, initrd_name: Some("s/x/y/p".into()) });
        let error = link(&target, &naming, &BTreeSet::new()).unwrap_err();
        assert!(error.to_string().contains("INITRD_NAME"), "{error}");
        assert_eq!(error.status(), 1);
    }

    // D27
    #[test]
    fn links_are_made_in_the_target_only() {
        let (dir, target) = target(&["vmlinuz-1-1-a", "r"], &[]);
        let naming = by_programs("s,.*vmlinuz.*,& ../ 1 escaped,p", "s/.*/r/p");
        assert!(link(&target, &naming, &BTreeSet::new()).is_err());
        assert!(!dir.path().parent().unwrap().join("escaped").is_symlink());
    }
}
