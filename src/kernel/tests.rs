//! Whole runs of `ltsp-update-kernels`, on small trees.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::image::tests::{loops, privately, run};
use super::*;

/// A base directory and two TFTP directories.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["base/images", "tftp", "tftp2"] {
            fs::create_dir_all(world.path(name)).unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A root with kernels of these versions at `name`.
    fn root(&self, name: &str, versions: &[&str]) {
        self.write(&format!("{name}/bin/true"), "");
        let program = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(name).join("bin/true"), program).unwrap();
        for version in versions {
            self.write(&format!("{name}/boot/vmlinuz-{version}"), name);
            self.write(&format!("{name}/boot/initrd.img-{version}"), name);
            fs::create_dir_all(self.path(name).join("lib/modules").join(version)).unwrap();
        }
    }

    fn image(&self, name: &str, versions: &[&str]) -> PathBuf {
        self.root("to-image", versions);
        let image = self.path(&format!("base/images/{name}.img"));
        run("mksquashfs", &[&self.path("to-image"), &image, "-no-progress".as_ref()]);
        fs::remove_dir_all(self.path("to-image")).unwrap();
        image
    }

    fn settings(&self, names: &[&str]) -> KernelSettings {
        KernelSettings {
            base: self.path("base"),
            names: names.iter().map(OsString::from).collect(),
            tftp_dirs: ["missing", "tftp", "tftp2"].map(|name| self.path(name)).into(),
            tftp_boot_dir: "ltsp".into(),
            prefer_image: false,
            root_override: None,
        }
    }

    fn update(&self, names: &[&str]) -> Result<()> {
        update(&self.settings(names))
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(dir)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const PUBLISHED: [&str; 4] = ["initrd.img-6-1-a", "initrd.img-a", "vmlinuz-6-1-a", "vmlinuz-a"];

// K2, K3, K4, K10, K13
#[test]
fn every_chroot_and_image_is_published_in_every_tftp_directory() {
    let world = World::new();
    world.root("base/chroot", &["6-1-a"]);
    let image = world.image("image", &["6-1-a"]);
    privately(|| world.update(&[]).unwrap());
    for tftp in ["tftp", "tftp2"] {
        assert_eq!(world.names(&format!("{tftp}/ltsp")), ["chroot", "image"]);
        for name in ["chroot", "image"] {
            assert_eq!(world.names(&format!("{tftp}/ltsp/{name}")), PUBLISHED);
        }
    }
    assert!(!world.path("missing").exists());
    assert!(loops(&image).is_empty());
    // Again, over what is there.
    privately(|| world.update(&[]).unwrap());
    assert_eq!(world.names("tftp/ltsp/image"), PUBLISHED);
}

// K10, K40, D37
#[test]
fn a_preferred_image_replaces_the_kernels_of_the_chroot() {
    let world = World::new();
    world.root("base/x", &["6-2-a"]);
    world.image("x", &["6-1-a"]);
    world.update(&["x"]).unwrap();
    world.write("tftp/ltsp/x/lts.conf", "[Default]\n");
    symlink("vmlinuz-5-1-b", world.path("tftp/ltsp/x/vmlinuz-b")).unwrap();
    assert!(world.names("tftp/ltsp/x").contains(&"vmlinuz-6-2-a".to_owned()));
    let settings = KernelSettings { prefer_image: true, ..world.settings(&["x"]) };
    privately(|| update(&settings).unwrap());
    let expected = [&PUBLISHED[..2], &["lts.conf"], &PUBLISHED[2..]].concat();
    assert_eq!(world.names("tftp/ltsp/x"), expected);
    assert_eq!(fs::read_link(world.path("tftp/ltsp/x/vmlinuz-a")).unwrap(), Path::new("vmlinuz-6-1-a"));
}

// D22
#[test]
fn an_image_that_cannot_be_mounted_does_not_stop_the_others() {
    let world = World::new();
    world.write("base/images/broken.img", "no file system");
    world.root("base/chroot", &["6-1-a"]);
    privately(|| {
        let error = world.update(&["broken", "chroot"]).unwrap_err();
        assert_eq!(error.status(), 1);
        assert!(error.to_string().contains("broken"), "{error}");
    });
    assert_eq!(world.names("tftp2/ltsp"), ["chroot"]);
}

// D5, K12
#[test]
fn a_name_without_a_root_is_skipped_and_nothing_is_touched_for_it() {
    let world = World::new();
    world.root("base/chroot", &["6-1-a"]);
    world.write("tftp/ltsp/nope/vmlinuz-5-1-a", "kept");
    world.update(&["nope", "mock"]).unwrap();
    assert_eq!(world.names("tftp/ltsp"), ["nope"]);
    world.update(&["nope", "chroot", "mock"]).unwrap();
    assert_eq!(world.names("tftp/ltsp"), ["chroot", "nope"]);
    assert_eq!(world.names("tftp/ltsp/nope"), ["vmlinuz-5-1-a"]);
}

// K2
#[test]
fn nothing_to_publish_is_an_error_that_names_the_base() {
    let world = World::new();
    let error = world.update(&[]).unwrap_err();
    assert!(error.to_string().contains(world.path("base").to_str().unwrap()), "{error}");
    assert_eq!(error.status(), 1);
}

// D31
#[test]
fn no_tftp_directory_is_no_failure() {
    let world = World::new();
    world.root("base/chroot", &["6-1-a"]);
    let settings = KernelSettings { tftp_dirs: vec![world.path("missing")], ..world.settings(&[]) };
    update(&settings).unwrap();
    assert!(!world.path("missing").exists());
}

// K20
#[test]
fn a_root_without_boot_is_an_error_and_keeps_what_was_published() {
    let world = World::new();
    world.root("base/chroot", &["6-1-a"]);
    world.update(&["chroot"]).unwrap();
    fs::remove_dir_all(world.path("base/chroot/boot")).unwrap();
    let error = world.update(&["chroot"]).unwrap_err();
    assert!(error.to_string().contains("base/chroot"), "{error}");
    assert_eq!(world.names("tftp/ltsp/chroot"), PUBLISHED);
    // A link out of the root is no boot directory either.
    fs::create_dir(world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), world.path("base/chroot/boot")).unwrap();
    assert!(world.update(&["chroot"]).is_err());
}

// D7 (c)
#[test]
fn the_kernels_of_what_was_imaged_are_taken() {
    let world = World::new();
    world.root("base/amd64", &["6-2-a"]);
    world.root("view", &["6-1-a"]);
    let with_root = |names: &[&str]| {
        let root = Some(world.path("view"));
        update(&KernelSettings { root_override: root, prefer_image: true, ..world.settings(names) })
    };
    with_root(&["amd64"]).unwrap();
    assert_eq!(world.names("tftp/ltsp/amd64"), PUBLISHED);
    assert!(with_root(&["amd64", "i386"]).is_err());
    assert!(with_root(&[]).is_err());
    assert_eq!(world.names("tftp/ltsp"), ["amd64"]);
}

// K22, K24, K25, D30
#[test]
fn boot_loaders_find_what_they_need() {
    let world = World::new();
    world.root("base/chroot", &["6-1-a"]);
    for name in ["pxelinux.cfg/ltsp", "yaboot", "yaboot.conf", "private"] {
        world.write(&format!("base/chroot/boot/{name}"), "");
    }
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(world.path("base/chroot/boot/private"), private).unwrap();
    world.update(&["chroot"]).unwrap();
    let link = |name: &str| fs::read_link(world.path(name)).unwrap();
    assert_eq!(link("tftp/ltsp/chroot/pxelinux.cfg/default"), Path::new("ltsp"));
    assert_eq!(link("tftp/yaboot"), Path::new("ltsp/chroot/yaboot"));
    assert_eq!(link("tftp2/yaboot.conf"), Path::new("ltsp/chroot/yaboot.conf"));
    let mode = fs::metadata(world.path("tftp/ltsp/chroot/private")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}
