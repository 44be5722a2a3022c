//! `ltsp-config nbd-server`: an export for each image, and one for swap.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::settings::NbdSettings;
use crate::error::{During, Result, shown};
use crate::nbd::conf_d::{self, Put};
use crate::nbd::configuration;
use crate::nbd::keyfile::Group;
use crate::nbd::process::MAIN;
use crate::nbd::release::Release;
use crate::nbd::sections::{ALLOW, Section};
use crate::nbd::server::{self, Changes};
use crate::source::listing;
use crate::sys::{command, signals};

/// The server itself.
const PROGRAM: &str = "nbd-server";

/// Where clients look for their chroots if DHCP does not say (B3).
const USUAL_BASE: &str = "/opt/ltsp";

/// Writes the missing exports of all images in the base directory, and makes nbd-server serve them
/// (N3).
///
/// Sections of images that are gone are told, and never removed (N10, D34).
///
/// # Errors
/// When the folder or a file cannot be written (N13), or a signal came.
pub fn configure(settings: &NbdSettings) -> Result<()> {
    // What a reload puts there for a moment must go again.
    signals::catch()?;
    let places = Places::below(Path::new("/"));
    fs::create_dir_all(&places.conf_d).during("make", &places.conf_d)?;
    let _turn = conf_d::turn(&places.conf_d)?;
    let changes = places.write(settings)?;
    places.check()?;
    if !changes.is_empty() {
        places.check_list()?;
    }
    server::tell(&places.conf_d, &changes)
}

/// The files of nbd-server on this machine.
struct Places {
    main: PathBuf,
    conf_d: PathBuf,
    allow: PathBuf,
}

impl Places {
    fn below(root: &Path) -> Self {
        let place = |path: &str| configuration::below(root, Path::new(path));
        Self { main: place(MAIN), conf_d: place("/etc/nbd-server/conf.d"), allow: place(ALLOW) }
    }

    /// Swap first, then the images (N3).
    fn write(&self, settings: &NbdSettings) -> Result<Changes> {
        let mut changes = Changes::default();
        self.put(&Section::swap(), None, settings, &mut changes)?;
        for image in listing::images(&settings.base)? {
            match Section::image(&settings.base, &image) {
                Ok(section) => self.put(&section, Some(&image), settings, &mut changes)?,
                // D23
                Err(reason) => {
                    let path = settings.base.join("images").join(&image);
                    log::warn!(
                        "{}.img gets no export: its name {reason}, which nbd-server would misread",
                        shown(path)
                    );
                }
            }
        }
        Ok(changes)
    }

    fn put(
        &self,
        section: &Section,
        image: Option<&OsStr>,
        settings: &NbdSettings,
        changes: &mut Changes,
    ) -> Result<()> {
        let path = self.conf_d.join(&section.file);
        match conf_d::put(&self.conf_d, section, image, settings.overwrite)? {
            Put::Kept { sections } => {
                if !settings.quiet {
                    log::warn!("{} exists and is kept; --overwrite would replace it", path.display());
                }
                if let Some(told) = exports_other(&path, section, &sections) {
                    log::info!("{told}");
                }
                return Ok(());
            }
            Put::Written => changes.added.push(section.name.clone()),
            Put::Changed => changes.changed.push(path.clone()),
        }
        log::info!("Created {}", path.display()); // N5, whatever QUIET says
        if path.is_symlink() {
            log::info!("{} is a link, and nbd-server reads no links there", path.display());
        }
        if image.is_some() && settings.base != Path::new(USUAL_BASE) {
            // D43
            log::info!("Clients of this image need the DHCP root path {}", shown(&section.name));
        }
        Ok(())
    }

    /// What would keep the exports from being served, or serve them to everybody.
    fn check(&self) -> Result<()> {
        for path in configuration::included(Path::new("/"), &self.conf_d)? {
            stale(&path).iter().for_each(|told| log::info!("{told}"));
        }
        // Without its main file nbd-server does not start at all: nothing is served to anybody.
        match configuration::groups(Path::new("/"), &self.main) {
            Ok(groups) => {
                let problems = [self.not_included(groups.first()), self.open_to_all()];
                problems.iter().flatten().for_each(|told| log::warn!("{told}"));
            }
            Err(error) if self.main.exists() => log::warn!("nbd-server will not start: {error}"),
            Err(_) => {}
        }
        Ok(())
    }

    /// Warns of a list of addresses that this release of nbd-server makes void, which is the same as a
    /// missing one (D26).
    fn check_list(&self) -> Result<()> {
        let groups = configuration::groups(Path::new("/"), &self.main).unwrap_or_default();
        if !groups.first().is_some_and(listens_on_everything) || !command::exists(PROGRAM) {
            return Ok(());
        }
        if Release::of(PROGRAM)?.is_some_and(Release::list_is_void) {
            log::warn!(
                "this release of nbd-server lets every IPv4 address in, whatever {} says\n\
                 hint: add this line to the section [generic] of {}: listenaddr = 0.0.0.0",
                self.allow.display(),
                self.main.display()
            );
        }
        Ok(())
    }

    /// H28
    fn not_included(&self, generic: Option<&Group>) -> Option<String> {
        let include = generic.and_then(|generic| generic.string("includedir"));
        let include = include.and_then(|include| fs::canonicalize(include).ok());
        if include.is_some() && include == fs::canonicalize(&self.conf_d).ok() {
            return None;
        }
        let (main, dir) = (self.main.display(), self.conf_d.display());
        Some(format!(
            "{main} does not include {dir}, so nbd-server does not read the exports there\n\
             hint: add this line to its section [generic]: includedir = {dir}"
        ))
    }

    /// D26
    fn open_to_all(&self) -> Option<String> {
        let missing = !self.allow.exists();
        missing.then(|| {
            format!(
                "{} is missing, so nbd-server lets everybody in\n\
                 hint: write the networks of the clients there, one a line, such as 192.168.0.0/16",
                self.allow.display()
            )
        })
    }
}

/// Whether nbd-server listens on `::`, and so, too, for IPv4.
fn listens_on_everything(generic: &Group) -> bool {
    let list = generic.string("listenaddr").unwrap_or_default();
    list.trim().is_empty() || list.split([',', ' ', '\t']).any(|host| host == "::")
}

/// What else a kept file exports, if that is not what its image needs: the file is of another base
/// directory, or the admin's. One without any export is a way to have none.
fn exports_other(path: &Path, section: &Section, sections: &[Vec<u8>]) -> Option<String> {
    let other = sections.first()?;
    let has_it = sections.iter().any(|name| name == section.name.as_bytes());
    let told = || {
        let (other, wanted) = (shown(OsStr::from_bytes(other)), shown(&section.name));
        format!("{} is kept, which exports {other} and not {wanted}", path.display())
    };
    (!has_it).then(told)
}

/// The exports in one of LTSP's files whose images are gone (D34). A file that cannot be read is
/// nbd-server's to complain about.
fn stale(path: &Path) -> Vec<String> {
    if !path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ltsp_")) {
        return Vec::new();
    }
    let groups = configuration::groups(Path::new("/"), path).unwrap_or_default();
    let images = groups.iter().filter_map(|group| group.string("exportname"));
    // A pattern stands for many files, a relative path for one that depends on the server.
    let gone =
        images.filter(|image| image.starts_with('/') && !image.contains('%') && !Path::new(image).exists());
    gone.map(|image| {
        let (path, image) = (path.display(), shown(&image));
        format!("{path} exports {image}, which is gone; remove the file unless the image is to come back")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use tempfile::TempDir;

    struct World {
        _root: TempDir,
        places: Places,
        settings: NbdSettings,
    }

    impl World {
        fn new(images: &[&str]) -> Self {
            let root = tempfile::tempdir().unwrap();
            let base = root.path().join("opt/ltsp");
            let places = Places::below(root.path());
            for dir in [&base.join("images"), &places.conf_d, places.allow.parent().unwrap()] {
                fs::create_dir_all(dir).unwrap();
            }
            for image in images {
                fs::write(base.join("images").join(image), "").unwrap();
            }
            Self { _root: root, places, settings: NbdSettings { base, overwrite: false, quiet: true } }
        }

        fn write(&self) -> Changes {
            self.places.write(&self.settings).unwrap()
        }

        fn put(&self, file: &str, text: &str) -> PathBuf {
            let path = self.places.conf_d.join(file);
            fs::write(&path, text).unwrap();
            path
        }

        fn section(&self, image: &str) -> OsString {
            self.settings.base.join(image).into()
        }

        fn files(&self) -> Vec<OsString> {
            let entries = fs::read_dir(&self.places.conf_d).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        }
    }

    // N3, N7, N8, N9, D23
    #[test]
    fn every_image_that_can_be_exported_gets_a_file_and_swap_comes_first() {
        let world = World::new(&["amd64.img", "a b.img", "50%.img", "old.img.old", "x.img.tmp", ".img"]);
        let changes = world.write();
        assert_eq!(world.files(), ["ltsp_a b.conf", "ltsp_amd64.conf", "swap.conf"]);
        assert_eq!(changes.added, ["swap".into(), world.section("a b"), world.section("amd64")]);
        assert!(changes.changed.is_empty());
        // N4, N11: nothing is left to do
        let again = world.write();
        assert!(again.added.is_empty() && again.changed.is_empty());
    }

    // N8
    #[test]
    fn without_a_base_directory_only_swap_is_written() {
        let mut world = World::new(&[]);
        world.settings.base.push("missing");
        assert_eq!(world.write().added, ["swap"]);
        assert_eq!(world.files(), ["swap.conf"]);
    }

    // N4, H27, D34
    #[test]
    fn overwriting_changes_only_what_the_server_already_has() {
        let mut world = World::new(&["a.img", "b.img", "c.img"]);
        let changed = world.put("ltsp_a.conf", &format!("[{}]\n", world.section("a").to_string_lossy()));
        world.put("ltsp_b.conf", "# mine\n");
        world.put("ltsp_c.conf", "[ltsp_c]\nexportname = /c\n");
        assert_eq!(world.write().added, ["swap".into(), world.section("c")]);
        world.settings.overwrite = true;
        let changes = world.write();
        assert_eq!(changes.changed, [changed]);
        assert!(changes.added.contains(&world.section("b")));
    }

    // H28, D26
    #[test]
    fn a_main_file_that_does_not_include_the_folder_and_a_missing_list_are_told() {
        let world = World::new(&[]);
        let main = |text: &str| {
            fs::write(&world.places.main, text).unwrap();
            world
                .places
                .not_included(configuration::groups(Path::new("/"), &world.places.main).unwrap().first())
        };
        let dir = world.places.conf_d.display().to_string();
        assert_eq!(main(&format!("[generic]\n\tincludedir = {dir}/\n")), None);
        for text in ["", "[generic]\n", "[generic]\nincludedir = /nonexistent\n"] {
            let told = main(text).unwrap();
            assert!(told.contains(&format!("includedir = {dir}")), "{told}");
        }

        assert!(world.places.open_to_all().unwrap().contains("nbd-server.allow is missing"));
        fs::write(&world.places.allow, "").unwrap();
        assert_eq!(world.places.open_to_all(), None);
    }

    #[test]
    fn listening_on_everything_is_the_default() {
        for (settings, everything) in [
            ("", true),
            ("listenaddr =\n", true),
            ("listenaddr = 192.0.2.1, ::\n", true),
            ("listenaddr = 0.0.0.0\n", false),
            ("listenaddr = 192.0.2.1\n", false),
            ("listenaddr = ::1\n", false),
        ] {
            let groups = crate::nbd::keyfile::parse(format!("[generic]\n{settings}").as_bytes()).unwrap();
            assert_eq!(listens_on_everything(&groups[0]), everything, "{settings}");
        }
    }

    // D34
    #[test]
    fn exports_whose_images_are_gone_are_told() {
        let world = World::new(&["here.img"]);
        let here = world.settings.base.join("images/here.img");
        let here = here.display();
        let gone = |file: &str, text: &str| stale(&world.put(file, text)).len();
        assert_eq!(gone("ltsp_gone.conf", "[a]\nexportname = /nonexistent/a.img\n"), 1);
        assert_eq!(gone("ltsp_here.conf", &format!("[a]\nexportname = {here}\n")), 0);
        assert_eq!(gone("ltsp_old.conf", "# stale\n"), 0);
        assert_eq!(gone("ltsp_none.conf", "[a]\n"), 0);
        assert_eq!(gone("ltsp_many.conf", "[a]\nexportname = /nonexistent/%s\n"), 0);
        assert_eq!(gone("other.conf", "[a]\nexportname = /nonexistent/a.img\n"), 0);
    }

    #[test]
    fn a_kept_file_that_exports_something_else_is_told() {
        let section = Section::image(Path::new("/srv/ltsp"), OsStr::new("a")).unwrap();
        let told = |names: &[&str]| {
            let names: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
            exports_other(Path::new("/x/ltsp_a.conf"), &section, &names)
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["mine", "/srv/ltsp/a"]), None);
        assert_eq!(
            told(&["/opt/ltsp/a"]).unwrap(),
            "/x/ltsp_a.conf is kept, which exports /opt/ltsp/a and not /srv/ltsp/a"
        );
    }
}
