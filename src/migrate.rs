//! From the settings of LTSP 5 to an `ltsp.conf` that makes `ltsp image` and `ltsp kernel` do the same (M3 to
//! M7).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::legacy::{self, Sources};
use crate::config::shell;
use crate::config::variables::{Variables, expanded_words, words};
use crate::error::{Error, Result, shown};
use crate::kernel_names::assignments::{self, Assignments};
use crate::source::{architecture, listing};
use crate::sys::confined::Root;

/// The configuration files of LTSP 5 whose settings have counterparts.
const FILES: [&str; 3] = ["ltsp-server.conf", "ltsp-update-image.conf", "ltsp-update-kernels.conf"];

/// LTSP 5's exclude list, and the one that would take its place.
const EXCLUDES: (&str, &str) = ("ltsp/ltsp-update-image.excludes", "ltsp/image.excludes");

/// What an LTSP 5 server is set to.
#[derive(Debug, Default)]
pub struct Legacy {
    image: Variables,
    kernels: Variables,
    /// Of TFTP_DIRS those that exist (M3).
    tftp_dirs: Vec<PathBuf>,
    /// The exclude list and where it would have to be.
    excludes: Option<(PathBuf, PathBuf)>,
    chroots: Vec<Chroot>,
    /// What the image of this server itself is called in LTSP 5.
    own_name: OsString,
}

#[derive(Debug)]
struct Chroot {
    name: OsString,
    has_proc: bool,
    kernels: Assignments,
}

impl Legacy {
    /// Reads the settings below `etc`. Returns what there is to warn about, too.
    ///
    /// # Errors
    /// When there are none, or a file cannot be read or evaluated.
    pub fn read(etc: &Path, owner: u32) -> Result<(Self, Vec<String>)> {
        // Programs in the files have to be found, but nothing of today's environment is a setting.
        let environment: Vec<(OsString, OsString)> = ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
            .collect();
        let load = |tool| {
            legacy::load(Sources { tool, called_as: OsStr::new(tool), etc, owner }, environment.clone())
        };
        let (image, kernels) = (load("ltsp-update-image")?, load("ltsp-update-kernels")?);
        let base = Path::new(image.variables.get("BASE").unwrap_or_default()).to_owned();
        let there = FILES.iter().any(|file| etc.join("ltsp").join(file).exists());
        if !there && !base.is_dir() {
            return Err(Error::said(format!(
                "there is no LTSP 5 here: neither {} in {} nor {}",
                FILES.join(", "),
                shown(etc.join("ltsp")),
                shown(&base)
            )));
        }
        let tftp_dirs = expanded_words(kernels.variables.get("TFTP_DIRS").unwrap_or_default());
        let excludes = (etc.join(EXCLUDES.0), etc.join(EXCLUDES.1));
        let found = Self {
            tftp_dirs: tftp_dirs.into_iter().filter(|dir| dir.is_dir()).collect(),
            excludes: excludes.0.is_file().then_some(excludes),
            chroots: chroots(&base)?,
            own_name: architecture::name()?,
            image: image.variables,
            kernels: kernels.variables,
        };
        let mut warnings = image.warnings;
        warnings.extend(
            kernels.warnings.into_iter().filter(|warning| !warnings.contains(warning)).collect::<Vec<_>>(),
        );
        Ok((found, warnings))
    }

    /// The `ltsp.conf`, with comments about what has no counterpart.
    pub fn ltsp_conf(&self) -> String {
        let mut text = Text::default();
        text.comment(
            "Settings of LTSP 5 as `ltsp image` and `ltsp kernel` have them, by `ltsp migrate`. What has no",
        );
        text.comment("counterpart is told in comments.");
        text.section("server");
        self.places(&mut text);
        self.switches(&mut text);
        self.writing(&mut text);
        self.excluded(&mut text);
        self.kernel_names(&mut text);
        self.names(&mut text);
        self.of_kernels_alone(&mut text);
        text.text
    }

    fn places(&self, text: &mut Text) {
        text.set("BASE_DIR", self.image.get("BASE").unwrap_or_default());
        if let [first, others @ ..] = &self.tftp_dirs[..] {
            text.set("TFTP_DIR", first.as_os_str());
            for other in others {
                text.comment(&format!("{} got kernels, too; there is one TFTP directory now.", shown(other)));
            }
        } else {
            text.comment("No TFTP directory exists; kernels will go to /srv/tftp, which is made.");
        }
        let boot_dir = self.kernels.get("TFTP_BOOT_DIR").unwrap_or_default();
        if boot_dir != "ltsp" {
            text.comment(&format!(
                "TFTP_BOOT_DIR was `{}`; kernels go to ltsp/NAME in TFTP_DIR now.",
                shown(boot_dir)
            ));
        }
    }

    fn switches(&self, text: &mut Text) {
        if self.image.is_true("CLEANUP") {
            text.set("CLEANUP", "1".as_ref());
        } else {
            text.comment(
                "Images were not cleaned: accounts and keys of the chroots were in them. Without this line",
            );
            text.comment("they are.");
            text.set("CLEANUP", "0".as_ref());
        }
        if self.image.is_true("NO_BACKUP") {
            text.set("BACKUP", "0".as_ref());
        }
        if self.image.is_true("REVERT") {
            text.set("REVERT", "1".as_ref());
        }
        if self.image.non_empty("CONFIG_NBD").is_some() {
            text.comment("CONFIG_NBD: `ltsp nbd` exports images by nbd-server, whatever NFS does.");
        }
    }

    fn writing(&self, text: &mut Text) {
        let mut params: Vec<OsString> = Vec::new();
        if self.image.non_empty("NO_COMPRESS").is_some() {
            params.extend(["-noI", "-noD", "-noF"].map(OsString::from));
        }
        let compression = words(self.image.get("COMPRESSION").unwrap_or_default());
        if !compression.is_empty() {
            params.push("-comp".into());
            params.extend(compression);
        }
        if !params.is_empty() {
            text.set("MKSQUASHFS_PARAMS", &params.join(OsStr::new(" ")));
        }
    }

    fn excluded(&self, text: &mut Text) {
        let mut patterns: Vec<OsString> = Vec::new();
        for line in self.image.get("EXCLUDE").unwrap_or_default().as_bytes().split(|&byte| byte == b'\n') {
            let line = OsStr::from_bytes(trimmed(line));
            if line.as_bytes().iter().any(|byte| b" ,".contains(byte)) {
                text.comment("A blank or comma is part of a pattern now; write one pattern a line:");
            }
            patterns.extend((!line.is_empty()).then(|| line.to_owned()));
        }
        let mounts = self.image.get("EXCLUDED_MOUNTS").unwrap_or_default();
        for mount in
            mounts.as_bytes().split(|&byte| byte == b',').map(trimmed).filter(|mount| !mount.is_empty())
        {
            for all in ["/*", "/.*"] {
                patterns.push(OsStr::from_bytes(&[mount, all.as_bytes()].concat()).to_owned());
            }
        }
        if !patterns.is_empty() {
            text.set("ADD_IMAGE_EXCLUDES", &patterns.join(OsStr::new("\n")));
        }
        if let Some((from, to)) = &self.excludes {
            text.comment(
                "The exclude list of LTSP 5 would take the place of the built-in one, which is longer:",
            );
            text.comment(&format!("    cp {} {}", shown(from), shown(to)));
        }
    }

    fn kernel_names(&self, text: &mut Text) {
        for chroot in &self.chroots {
            let Assignments { kernel_names, initrd_name } = &chroot.kernels;
            for (name, value) in [("KERNEL_NAMES", kernel_names), ("INITRD_NAME", initrd_name)] {
                if let Some(value) = value {
                    text.comment(&format!(
                        "{} has {name}={} in etc/ltsp/update-kernels.conf; see KERNEL_INITRD in ltsp-kernel(8).",
                        shown(&chroot.name),
                        shown(value)
                    ));
                }
            }
        }
        if self.kernels.is_true("PREFER_NBD_IMAGE") {
            text.comment(
                "PREFER_NBD_IMAGE: `ltsp image` takes kernels from images; for `ltsp kernel` name the image:",
            );
            text.comment("    ltsp kernel BASE_DIR/images/NAME.img");
        }
    }

    /// What images are called, and what is taken for a chroot (M5).
    fn names(&self, text: &mut Text) {
        for chroot in &self.chroots {
            if !chroot.has_proc {
                text.comment(&format!(
                    "{} needs a directory proc to be taken for a chroot.",
                    shown(&chroot.name)
                ));
            }
            let bytes = chroot.name.as_bytes();
            if let Some(dot) = bytes.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0) {
                text.comment(&format!(
                    "The image of {0} was {1}.img and will be {0}.img.",
                    shown(&chroot.name),
                    shown(OsStr::from_bytes(&bytes[..dot]))
                ));
            }
        }
        let own = shown(&self.own_name);
        text.comment(&format!(
            "The image of / was {own}.img and is named after `uname -m` now; to keep the name:"
        ));
        text.comment(&format!("    ln -s / /root/{own} && ltsp image /root/{own}"));
    }

    /// Where `ltsp-update-kernels` had other settings than `ltsp-update-image`.
    fn of_kernels_alone(&self, text: &mut Text) {
        let base = self.kernels.get("BASE");
        if base != self.image.get("BASE") {
            text.section("kernel/");
            text.set("BASE_DIR", base.unwrap_or_default());
        }
    }
}

/// Without blanks, and without the slashes at the start that patterns have no more.
fn trimmed(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    while let Some(rest) = text.strip_prefix(b"/").or_else(|| text.strip_prefix(b"./")) {
        text = rest;
    }
    text
}

fn chroots(base: &Path) -> Result<Vec<Chroot>> {
    let mut chroots = Vec::new();
    for name in listing::chroots(base)? {
        let root = Root::open(&base.join(&name))?;
        chroots.push(Chroot { has_proc: root.is_dir("proc")?, kernels: assignments::read(&root)?, name });
    }
    Ok(chroots)
}

/// A file in the making.
#[derive(Default)]
struct Text {
    text: String,
}

impl Text {
    fn comment(&mut self, line: &str) {
        self.text.push_str(&format!("# {line}\n"));
    }

    fn section(&mut self, name: &str) {
        self.text.push_str(&format!("\n[{name}]\n"));
    }

    fn set(&mut self, name: &str, value: &OsStr) {
        let plain = |text: &str| !text.bytes().any(|byte| b"\"$`\\".contains(&byte));
        match value.to_str().filter(|text| plain(text)) {
            Some(text) => self.text.push_str(&format!("{name}=\"{text}\"\n")),
            None => {
                let mut quoted = Vec::new();
                shell::quoted(&mut quoted, value);
                self.text.push_str(&format!("{name}={}\n", String::from_utf8_lossy(&quoted)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::modern::{self, ImageRequest};
    use crate::config::network::System;
    use crate::config::sections::{self, OWN, Selection};
    use crate::config::settings::ImageSettings;
    use crate::config::shell::session::Session;
    use crate::sys::coprocess::Output;

    /// The `ltsp.conf` for these files below `etc/ltsp`; `@` stands for the test's own directory.
    fn migrated(files: &[(&str, &str)]) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().to_str().unwrap().to_owned();
        std::fs::create_dir_all(dir.path().join("base")).unwrap();
        std::fs::create_dir_all(dir.path().join("tftp")).unwrap();
        let mut all = vec![("ltsp-server.conf", "BASE=@/base\nTFTP_DIRS='@/none @/tftp @'\n")];
        all.extend(files);
        for (name, text) in all {
            let path = dir.path().join("etc/ltsp").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace('@', &own)).unwrap();
        }
        let owner = rustix::process::geteuid().as_raw();
        let (found, _) = Legacy::read(&dir.path().join("etc"), owner).unwrap();
        let text = found.ltsp_conf().replace(&own, "@");
        (dir, text)
    }

    /// What `ltsp image` makes of a file.
    fn settings(text: &str) -> ImageSettings {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ltsp.conf");
        std::fs::write(&path, text).unwrap();
        let mut variables = Variables::default();
        modern::defaults(&mut variables);
        let system =
            System { routes: "/nowhere".as_ref(), interfaces: "/nowhere".as_ref(), source: |_| None };
        crate::config::network::facts(system, &mut variables);
        let mut session = Session::new("ltsp".as_ref(), Output::Ours, OWN);
        let selection = Selection { applet: "image", client: false };
        let owner = rustix::process::geteuid().as_raw();
        let warnings = sections::evaluate(&path, selection, owner, &mut session, &mut variables).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        modern::image_settings(&variables, ImageRequest::default(), "/nowhere".as_ref(), owner).unwrap().0
    }

    // M3: the table, by what our own front end reads.
    #[test]
    fn each_setting_becomes_its_counterpart() {
        let (_dir, text) = migrated(&[]);
        let plain = settings(&text);
        assert!(plain.base_dir.ends_with("@/base"), "{text}");
        assert!(
            !plain.cleanup && plain.backup && plain.revert.is_none() && plain.mksquashfs_params.is_empty()
        );
        assert!(text.contains("BASE_DIR=\"@/base\"\nTFTP_DIR=\"@/tftp\"\n"), "{text}");
        assert!(text.contains("# @ got kernels, too"), "{text}");
        for (conf, check) in [
            ("CLEANUP=true", (|s| s.cleanup) as fn(&ImageSettings) -> bool),
            ("CLEANUP=yes", |s| !s.cleanup),
            ("NO_BACKUP=true", |s| !s.backup),
            ("NO_BACKUP=false", |s| s.backup),
            ("REVERT=true", |s| s.revert.is_some_and(|n| n.get() == 1)),
            ("NO_COMPRESS=true", |s| s.mksquashfs_params == ["-noI", "-noD", "-noF"]),
            ("COMPRESSION='xz -b 1M'", |s| s.mksquashfs_params == ["-comp", "xz", "-b", "1M"]),
            ("EXCLUDE=/usr/share/doc", |s| s.excludes.iter().any(|p| p.text() == "usr/share/doc")),
            ("EXCLUDE='a$b'", |s| s.excludes.iter().any(|p| p.text() == "a$b")),
            ("EXCLUDED_MOUNTS=/home,/srv/x", |s| {
                ["srv/x/*", "srv/x/.*", "home/*"]
                    .iter()
                    .all(|text| s.excludes.iter().any(|p| p.text() == *text))
            }),
        ] {
            let (_dir, text) = migrated(&[("ltsp-update-image.conf", conf)]);
            assert!(check(&settings(&text)), "{conf}: {text}");
        }
    }

    // M3, M5, M6
    #[test]
    fn what_has_no_counterpart_is_told() {
        for (file, conf, said) in [
            ("ltsp-server.conf", "BASE=@/base\nTFTP_BOOT_DIR=net\n", "TFTP_BOOT_DIR was `net`"),
            ("ltsp-update-image.conf", "CONFIG_NBD=1", "# CONFIG_NBD: `ltsp nbd`"),
            ("ltsp-update-kernels.conf", "PREFER_NBD_IMAGE=true", "# PREFER_NBD_IMAGE"),
            ("ltsp-update-kernels.conf", "BASE=/elsewhere", "\n[kernel/]\nBASE_DIR=\"/elsewhere\"\n"),
            (
                "ltsp-update-image.excludes",
                "",
                "cp @/etc/ltsp/ltsp-update-image.excludes @/etc/ltsp/image.excludes",
            ),
            ("ltsp-update-image.conf", "EXCLUDE='home tmp'", "# A blank or comma is part of a pattern now"),
        ] {
            let (_dir, text) = migrated(&[(file, conf)]);
            assert!(text.contains(said), "{conf}: {text}");
            settings(&text);
        }
    }

    // M3, M5
    #[test]
    fn chroots_are_looked_through_for_what_changes() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, _) = migrated(&[]);
        for (name, proc) in [("debian.9", true), ("old", false)] {
            let chroot = dir.path().join("base").join(name);
            std::fs::create_dir_all(chroot.join("bin")).unwrap();
            std::fs::create_dir_all(chroot.join("etc/ltsp")).unwrap();
            std::fs::write(chroot.join("bin/true"), "").unwrap();
            std::fs::set_permissions(chroot.join("bin/true"), std::fs::Permissions::from_mode(0o755))
                .unwrap();
            std::fs::write(chroot.join("etc/ltsp/update-kernels.conf"), "INITRD_NAME='s/a/b/p'\n").unwrap();
            if proc {
                std::fs::create_dir(chroot.join("proc")).unwrap();
            }
        }
        let owner = rustix::process::geteuid().as_raw();
        let text = Legacy::read(&dir.path().join("etc"), owner).unwrap().0.ltsp_conf();
        assert!(text.contains("# The image of debian.9 was debian.img and will be debian.9.img."), "{text}");
        assert!(text.contains("# old needs a directory proc"), "{text}");
        assert!(!text.contains("debian.9 needs"), "{text}");
        assert!(text.contains("# old has INITRD_NAME=s/a/b/p in"), "{text}");
        settings(&text);
    }

    #[test]
    fn without_ltsp_5_there_is_nothing_to_migrate() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("ltsp")).unwrap();
        if !Path::new("/opt/ltsp").is_dir() {
            let error = Legacy::read(dir.path(), 0).unwrap_err().to_string();
            assert!(error.contains("ltsp-server.conf"), "{error}");
        }
    }
}
