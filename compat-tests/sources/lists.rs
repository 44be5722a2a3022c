//! Source lists, directories and live systems (S3 to S7, S26, O6, U3).

use std::path::Path;

use ltsp_core::overlay::View;
use ltsp_core::sys::mount::Mount;

use crate::world::{listing, privately};

// S3, S4, S5
#[test]
fn later_elements_go_into_the_earlier_ones() {
    privately(|world| {
        world.root("a");
        world.ext4("a", "");
        world.tree("extra", &["shown"]);
        world.squashfs("extra");
        let expected = world.expected(&[("a", ""), ("extra", "opt")]);
        for operand in [
            "@/a,,@/extra,subdir=opt",
            "@/a,,@/extra.squashfs,subdir=/opt/",
            "@/a.ext4,,@/extra,subdir=opt,",
            "@/a.ext4,ro,noload,,@/extra.squashfs,subdir=opt,ro",
        ] {
            assert_eq!(world.seen(operand), expected, "{operand}");
        }
        // Without subdir it hides everything.
        assert_eq!(world.seen("@/a,,@/extra"), world.expected(&[("extra", "")]));
        // Into what an earlier one has put there; through a link of the root.
        std::fs::create_dir(world.path("extra/inner")).unwrap();
        std::os::unix::fs::symlink("opt", world.path("a/link")).unwrap();
        world.tree("last", &["file"]);
        let expected = world.expected(&[("a", ""), ("extra", "opt"), ("last", "opt/inner")]);
        assert_eq!(world.seen("@/a,,@/extra,subdir=link,,@/last,subdir=opt/inner"), expected);
    });
}

// S3, S6
#[test]
fn a_relative_element_is_one_of_what_is_mounted_so_far() {
    privately(|world| {
        world.root("a");
        let image = world.squashfs("a");
        world.tree("medium", &["casper/", "data/file"]);
        std::fs::copy(&image, world.path("medium/casper/x.squashfs")).unwrap();
        std::os::unix::fs::symlink("/etc", world.path("medium/out")).unwrap();
        world.ext4("medium", "");
        for medium in ["medium", "medium.ext4"] {
            let expected = world.expected(&[("a", "")]);
            assert_eq!(world.seen(&format!("@/{medium},,casper/x.squashfs")), expected);
            let expected = world.expected(&[("a", ""), ("medium/data", "opt")]);
            assert_eq!(world.seen(&format!("@/a,,@/{medium},subdir=opt,,opt/data,subdir=opt")), expected);
            for missing in ["casper/y.squashfs", "out/passwd", "../../etc/passwd"] {
                let error = world.refused(&format!("@/{medium},,{missing}"));
                assert!(error.contains(missing) && error.contains(medium), "{error}");
            }
        }
        let error = world.refused("@/a,,/none,subdir=opt");
        assert!(error.contains("/none"), "{error}");
    });
}

// S5
#[test]
fn a_subdir_has_to_be_a_directory_and_the_first_element_has_none() {
    privately(|world| {
        world.root("a");
        world.tree("extra", &["file"]);
        std::os::unix::fs::symlink("/dev", world.path("a/out")).unwrap();
        for subdir in ["none", "etc/passwd", "out", "../extra"] {
            let error = world.refused(&format!("@/a,,@/extra,subdir={subdir}"));
            assert!(error.contains("no such directory"), "{subdir}: {error}");
        }
        let error = world.refused("@/a,subdir=etc");
        assert!(error.contains("the first source of a list is the root itself"), "{error}");
    });
}

// O6
#[test]
fn the_root_of_a_live_system_is_found_on_its_medium() {
    privately(|world| {
        world.root("a");
        let image = world.squashfs("a");
        for place in ["casper/filesystem.squashfs", "live/filesystem.squashfs"] {
            let tree = format!("medium-{}", &place[..4]);
            world.tree(&tree, &["boot/vmlinuz", place]);
            std::fs::copy(&image, world.path(&tree).join(place)).unwrap();
            let medium = world.ext4(&tree, "");
            for operand in [format!("@/{tree}"), format!("@/{tree}.ext4")] {
                assert_eq!(world.seen(&operand), world.expected(&[("a", "")]));
                let mounted = world.mount(&operand).unwrap();
                assert!(mounted.live_medium().unwrap().join("boot/vmlinuz").exists());
            }
            world.sh(&format!("rm -f {}", medium.display()));
        }
        // Fedora's: the root is in an image in the image.
        world.tree("inner", &["LiveOS/"]);
        world.sh("mkfs.ext4 -q -d a inner/LiveOS/rootfs.img 8M");
        world.squashfs("inner");
        world.tree("fedora", &["LiveOS/", "isolinux/vmlinuz"]);
        world.sh("mv inner.squashfs fedora/LiveOS/squashfs.img");
        assert_eq!(world.seen("@/fedora"), world.expected(&[("a", "")]));
        // S7: a root is no medium, whatever lies in it; nor is an element of a longer list.
        world.tree("a", &["live/filesystem.squashfs"]);
        assert_eq!(world.seen("@/a"), world.expected(&[("a", "")]));
        world.tree("empty", &[]);
        let expected = world.expected(&[("fedora", ""), ("empty", "isolinux")]);
        assert_eq!(world.seen("@/fedora,,@/empty,subdir=isolinux"), expected);
    });
}

// S26, U3: directories are read where they are; what is mounted in them is for the view over them to choose.
#[test]
fn a_directory_is_its_own_lower_layer() {
    privately(|world| {
        world.root("a");
        let mounted = world.mount("@/a,noatime").unwrap();
        assert_eq!(mounted.root(), world.path("a"));
        assert!(mounted.layers()[0].is_directory && mounted.layers().len() == 1);
        let mounted = world.mount("/").unwrap();
        assert_eq!(mounted.root(), Path::new("/"));
        let mounted = world.mount("/,,/usr/bin,subdir=mnt").unwrap();
        assert_eq!(mounted.layers()[1].target, Path::new("mnt"));
    });
}

// S23: the view that is cleaned and imaged lies over all layers, and nothing of it reaches them.
#[test]
fn a_writable_view_shows_all_layers_in_their_places() {
    privately(|world| {
        world.root("a");
        world.ext4("a", "");
        world.tree("boot", &["vmlinuz-1"]);
        world.squashfs("boot");
        world.tree("extra", &["file"]);
        let expected = world.expected(&[("a", ""), ("boot", "boot"), ("extra", "opt")]);
        for first in ["@/a", "@/a.ext4"] {
            let operand = format!("{first},,@/boot.squashfs,subdir=boot,,@/extra,subdir=opt");
            let mounted = world.mount(&operand).unwrap();
            let mut view = View::new(mounted.root(), &[]).unwrap();
            for layer in &mounted.layers()[1..] {
                view.add(&layer.lower, &layer.target, layer.is_directory).unwrap();
            }
            assert_eq!(listing(view.root()), expected);
            for path in ["new", "boot/new", "opt/new"] {
                std::fs::write(view.root().join(path), "").unwrap();
            }
            assert_eq!(world.look(&mounted), expected);
        }
    });
}

// S26, U3
#[test]
fn file_systems_in_a_directory_are_taken_in_wherever_the_directory_goes() {
    privately(|world| {
        world.root("a");
        world.tree("outer", &["inner/"]);
        world.tree("content", &["file"]);
        world.ext4("content", "");
        // As the server's own: mounted by somebody else.
        let mounts =
            [world.mount("@/content.ext4").unwrap(), world.mount("@/content.ext4,ro,noload").unwrap()];
        let places = ["a/boot", "outer/inner"].map(|place| world.path(place));
        let _binds: Vec<_> = mounts
            .iter()
            .zip(&places)
            .map(|(mounted, place)| Mount::bind_read_only(mounted.root(), place).unwrap())
            .collect();
        let mounted = world.mount("@/a,,@/outer,subdir=opt").unwrap();
        let mut view = View::new(mounted.root(), &[]).unwrap();
        for layer in &mounted.layers()[1..] {
            view.add(&layer.lower, &layer.target, layer.is_directory).unwrap();
        }
        for file in ["boot/file", "opt/inner/file"] {
            assert!(view.root().join(file).exists(), "{file}");
        }
    });
}
