//! Images that the program itself makes, as an admin would have it make them, and their comparison through a
//! mount with what the sources were filled with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ltsp_core::sys::mount::Mount;

use crate::rigs::tree::{self, Comparison};
use crate::world::World;

impl World {
    /// The tree of a small system with a kernel and with every kind of entry, in `usr/odd`.
    pub fn rich_root(&self, name: &str) -> PathBuf {
        let root = self.root(name);
        for file in ["boot/vmlinuz-1", "boot/initrd.img-1"] {
            fs::write(root.join(file), file).unwrap();
        }
        self.rich(&format!("{name}/usr/odd"));
        root
    }

    /// A directory with every kind of entry.
    pub fn rich(&self, name: &str) {
        self.sh(&format!("{} {name} common", tree::ODD));
    }

    /// Takes second names from what mksquashfs makes two of: links and devices.
    pub fn for_mksquashfs(&self, odd: &str) {
        self.sh(&format!("cd {odd}; rm other/link-dangling other/char"));
    }

    /// Has the program make an image of an operand, and compares what a mount of the image shows with these
    /// trees, each put into the first one at a place. Nothing may have been told on standard error.
    pub fn check_image(&self, operand: &str, trees: &[(&str, &str)]) {
        let errors = self.check_image_with(&[], operand, trees);
        assert_eq!(errors, "", "{operand}");
    }

    /// The same with more options; what was told on standard error.
    pub fn check_image_with(&self, options: &[&str], operand: &str, trees: &[(&str, &str)]) -> String {
        let done =
            self.program(&[&["--cleanup=0", "--backup=0"], options, &[&self.operand(operand)]].concat());
        let errors = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{operand}: {errors}");
        let image = only_file(&self.path("base/images"));
        let wanted = self.put_together(trees);
        let (place, device) =
            (self.path("image"), self.sh(&format!("losetup -f --show -r {}", image.display())));
        fs::create_dir(&place).unwrap();
        let mount = Mount::device(Path::new(&device), "squashfs", &place, "").unwrap();
        // The views that the source is read through are new, and so is the time of their root directories.
        for (_, target) in trees {
            self.sh(&format!("touch -r image/{target} wanted/{target}"));
        }
        let comparison = tree::compare(&wanted, &place, &Default::default());
        drop(mount);
        self.sh(&format!("losetup -d {device}; rmdir image; rm -rf wanted base/images"));
        assert!(comparison.differences.is_empty(), "{operand}: {:#?}", comparison.differences);
        let Comparison { entries, files, hard_links, devices, xattrs, .. } = comparison;
        let counts = [entries, files, hard_links, devices, xattrs];
        assert!(counts.iter().zip([340, 300, 1, 2, 8]).all(|(found, least)| *found >= least), "{counts:?}");
        errors
    }

    /// What the program tells of an operand that it has to refuse, leaving no image.
    pub fn no_image(&self, operand: &str) -> String {
        let done = self.program(&["--cleanup=0", &self.operand(operand)]);
        let errors = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{operand}: {errors}");
        assert!(!self.path("base/images").exists(), "{operand}");
        errors
    }

    /// Runs `ltsp image` on a server without configuration.
    fn program(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ltsp"));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBUG_LOG", "0");
        command.arg("-b").arg(self.path("base")).arg("-t").arg(self.path("tftp"));
        command.arg("image").args(arguments).current_dir(self.path("")).output().unwrap()
    }

    /// A copy of the first tree, with copies of the others in their places instead of what was there.
    fn put_together(&self, trees: &[(&str, &str)]) -> PathBuf {
        for (tree, place) in trees {
            self.sh(&format!(
                "mkdir -p wanted/{place}; find wanted/{place} -mindepth 1 -delete; cp -a {tree}/. wanted/{place}"
            ));
        }
        self.path("wanted")
    }
}

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}
