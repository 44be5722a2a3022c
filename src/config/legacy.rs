//! The settings of an LTSP 5 tool: environment, `/etc/ltsp/ltsp-server.conf`, defaults,
//! `/etc/ltsp/TOOL.conf` and `/etc/ltsp/TOOL.conf.d`, each overriding what came before (S1, S2).
//!
//! The command line comes last and is the caller's.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::drop_in::drop_ins;
use super::retired;
use super::shell::Reader;
use super::variables::{Origin, Variables};
use crate::error::{During, Error, Result, shown};

/// The base directory when nothing names one (S3).
const BASE: &str = "/opt/ltsp";

/// Which tool reads its files, and where they lie.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The name that the tool's own files are named after.
    pub tool: &'a str,
    /// The name the program was called by.
    pub called_as: &'a OsStr,
    /// `/etc`, outside tests.
    pub etc: &'a Path,
    /// Whose files a shell may evaluate: 0, outside tests.
    pub owner: u32,
}

/// What the files say.
#[derive(Debug)]
pub struct Configuration {
    /// Every variable that is set.
    pub variables: Variables,
    /// What the admin should know, in the order in which it was found.
    pub warnings: Vec<String>,
}

/// Reads the files of one tool, on top of the environment.
///
/// # Errors
/// When a file cannot be read or evaluated; the error names it.
pub fn load(
    sources: Sources<'_>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Configuration> {
    let ltsp = sources.etc.join("ltsp");
    let mut reader = Reader::new(sources.called_as, sources.owner);
    let mut variables = Variables::from_environment(environment);
    let mut warnings = retired::files(sources);
    let mut read = |path: &Path, variables: &mut Variables| -> Result<()> {
        if path.is_file() {
            warnings.extend(reader.read(path, variables)?);
        }
        Ok(())
    };
    read(&ltsp.join("ltsp-server.conf"), &mut variables)?;
    defaults(&mut variables);
    read(&ltsp.join(format!("{}.conf", sources.tool)), &mut variables)?;
    let (names, left_out) = drop_ins(&ltsp.join(format!("{}.conf.d", sources.tool)))?;
    for path in names {
        read(&path, &mut variables)?;
    }
    warnings.extend(left_out);
    warnings.extend(retired::variables(sources.tool, &variables));
    Ok(Configuration { variables, warnings })
}

/// Reads the one file that `nbdswapd` has, on top of the environment and its defaults (N30).
///
/// # Errors
/// As for [`load`].
pub fn load_one(
    sources: Sources<'_>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    defaults: &[(&str, &str)],
) -> Result<Configuration> {
    let mut variables = Variables::from_environment(environment);
    for (name, value) in defaults {
        variables.assign(name, *value, Origin::Default);
    }
    let path = sources.etc.join("ltsp").join(format!("{}.conf", sources.tool));
    let mut warnings = Vec::new();
    if path.is_file() {
        warnings = Reader::new(sources.called_as, sources.owner).read(&path, &mut variables)?;
    }
    Ok(Configuration { variables, warnings })
}

/// The base directory, after files and options (S4, D24).
///
/// # Errors
/// When it is `/`.
pub fn base_directory(variables: &Variables) -> Result<PathBuf> {
    let value = variables.non_empty("BASE").unwrap_or(BASE.as_ref());
    let base = PathBuf::from(without_trailing_slashes(value));
    if base.components().all(|component| component == Component::RootDir) {
        let origin = variables.origin("BASE").map_or_else(String::new, |origin| format!(" (from {origin})"));
        return Err(Error::said(format!(
            "the base directory must not be {}{origin}: images would go to /images",
            shown(value)
        ))
        .hint("name the directory that holds the chroots, such as --base=/opt/ltsp"));
    }
    absolute(base)
}

/// A path as the admin wrote it if it is absolute, and otherwise below the current directory: child
/// programs, and nbd-server later, run elsewhere.
///
/// # Errors
/// When the current directory is gone.
pub fn absolute(path: PathBuf) -> Result<PathBuf> {
    if path.is_absolute() {
        return Ok(path);
    }
    Ok(std::env::current_dir().during("find", "the current directory")?.join(path))
}

/// Applied between the shared file and the tool's own ones, which therefore see them (S3).
fn defaults(variables: &mut Variables) {
    variables.set_default("BASE", BASE);
    variables.set_default("TFTP_BOOT_DIR", "ltsp");
    variables.set_default("TFTP_DIRS", "/var/lib/tftpboot /tftpboot /srv/tftp");
    if let (Some(base), Some(origin)) = (variables.get("BASE"), variables.origin("BASE")) {
        let (base, origin) = (without_trailing_slashes(base), origin.clone());
        variables.assign("BASE", base, origin);
    }
}

/// All of them go (D24), but for `/` itself, which is refused later.
fn without_trailing_slashes(path: &OsStr) -> OsString {
    let mut bytes = path.as_bytes();
    while let [rest @ .., _, b'/'] = bytes {
        bytes = &bytes[..rest.len() + 1];
    }
    OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A private `/etc`.
    struct World {
        etc: tempfile::TempDir,
        environment: Vec<(OsString, OsString)>,
    }

    impl World {
        fn new(environment: &[(&str, &str)]) -> Self {
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
            Self { etc: tempfile::tempdir().unwrap(), environment }
        }

        /// A file below `etc`.
        fn with(self, path: &str, text: &str) -> Self {
            let path = self.etc.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            self
        }

        fn sources<'a>(&'a self, tool: &'a str) -> Sources<'a> {
            let owner = rustix::process::geteuid().as_raw();
            Sources { tool, called_as: tool.as_ref(), etc: self.etc.path(), owner }
        }

        fn load(&self, tool: &str) -> Configuration {
            load(self.sources(tool), self.environment.clone()).unwrap()
        }

        fn value(&self, tool: &str, name: &str) -> String {
            self.load(tool).variables.get(name).unwrap_or_default().to_str().unwrap().to_owned()
        }

        /// Warnings with the private folder taken off.
        fn warnings(&self, tool: &str) -> Vec<String> {
            let etc = self.etc.path().to_str().unwrap();
            self.load(tool).warnings.iter().map(|warning| warning.replace(etc, "/etc")).collect()
        }
    }

    const IMAGE: &str = "ltsp-update-image";
    const KERNELS: &str = "ltsp-update-kernels";

    // S2
    #[test]
    fn later_files_win_over_earlier_ones_and_all_of_them_over_the_environment() {
        let mut world = World::new(&[("COMPRESSION", "gzip")]);
        for (path, value) in [
            ("", "gzip"),
            ("ltsp/ltsp-server.conf", "lzo"),
            ("ltsp/ltsp-update-image.conf", "xz"),
            ("ltsp/ltsp-update-image.conf.d/10", "lz4"),
            ("ltsp/ltsp-update-image.conf.d/20", ""),
        ] {
            if !path.is_empty() {
                world = world.with(path, &format!("COMPRESSION={value}\n"));
            }
            assert_eq!(world.value(IMAGE, "COMPRESSION"), value, "{path}");
        }
        assert_eq!(world.value(KERNELS, "COMPRESSION"), "lzo");
    }

    // S3
    #[test]
    fn defaults_come_right_after_the_shared_file() {
        let world = World::new(&[("TFTP_BOOT_DIR", "")])
            .with("ltsp/ltsp-update-image.conf", "SEEN=$BASE:$TFTP_BOOT_DIR:$TFTP_DIRS\n")
            .with("ltsp/ltsp-update-kernels.conf", "TFTP_BOOT_DIR= TFTP_DIRS=\n");
        assert_eq!(world.value(IMAGE, "SEEN"), "/opt/ltsp:ltsp:/var/lib/tftpboot /tftpboot /srv/tftp");
        assert_eq!(world.value(KERNELS, "TFTP_BOOT_DIR"), "");
        assert_eq!(world.value(KERNELS, "TFTP_DIRS"), "");
        let world = World::new(&[("TFTP_BOOT_DIR", "students")])
            .with("ltsp/ltsp-server.conf", "TFTP_BOOT_DIR=\nBASE=/srv/x///\n");
        assert_eq!(world.value(IMAGE, "TFTP_BOOT_DIR"), "ltsp");
        assert_eq!(world.value(IMAGE, "BASE"), "/srv/x");
    }

    // S4, D24
    #[test]
    fn the_base_directory_has_no_trailing_slash_and_is_never_the_root() {
        let here = std::env::current_dir().unwrap();
        for (value, expected) in [
            ("", Some(PathBuf::from("/opt/ltsp"))),
            ("/srv/x", Some(PathBuf::from("/srv/x"))),
            ("/srv/x//", Some(PathBuf::from("/srv/x"))),
            ("/srv//x", Some(PathBuf::from("/srv//x"))),
            ("x/", Some(here.join("x"))),
            ("/", None),
            ("///", None),
            ("/./", None),
        ] {
            let mut variables = Variables::default();
            variables.assign("BASE", value, Origin::Option("base"));
            let found = base_directory(&variables);
            if let Some(expected) = expected {
                // As bytes: an export is named after the spelling (N7).
                assert_eq!(found.unwrap().as_os_str(), expected.as_os_str(), "{value}");
            } else {
                let error = found.unwrap_err();
                assert!(error.to_string().contains("(from --base)"), "{value}: {error}");
                assert_eq!(error.status(), 1);
            }
        }
    }

    // S5, S6
    #[test]
    fn drop_ins_are_chosen_by_name_and_read_in_the_order_of_their_bytes() {
        let mut world = World::new(&[]).with("elsewhere", "A=${A}link,\n");
        let dir = "ltsp/ltsp-update-image.conf.d";
        let read = ["-x", "00-a", "10-B", "10-a", "2-z", "9-b", "Zed", "a\\b", "und_er", "zzz"];
        let skipped = [".x", "10-site.conf", "a b", "a.dpkg-old", "a~", "a,b", "a=b", "sub/x"];
        for name in read.iter().chain(&skipped) {
            world = world
                .with(&format!("{dir}/{name}"), &format!("A=\"${{A}}{},\"\n", name.replace('\\', "\\\\")));
        }
        symlink("../../elsewhere", world.etc.path().join(dir).join("linked")).unwrap();
        symlink("nowhere", world.etc.path().join(dir).join("dangling")).unwrap();
        assert_eq!(world.value(IMAGE, "A"), "-x,00-a,10-B,10-a,2-z,9-b,Zed,a\\b,link,und_er,zzz,");
        // D40
        let expected = "files in /etc/ltsp/ltsp-update-image.conf.d whose names hold a dot are not read: \
                        10-site.conf; drop the .conf to have them read";
        assert_eq!(world.warnings(IMAGE), [expected]);
    }

    // H18, H19, H30, H41
    #[test]
    fn what_earlier_releases_read_is_pointed_out() {
        let world = World::new(&[])
            .with("ltsp/common.conf", "BASE=/wrong\n")
            .with("default/ltsp-update-image", "BASE=/wrong\n")
            .with("ltsp/ltsp-update-image.conf", "LTSP_UPDATE_IMAGE_DISABLED=True\n")
            .with("ltsp/ltsp-update-kernels.conf", "TFTPDIRS=/x\nCOPYTFTP=\n");
        let warnings = world.warnings(IMAGE);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].starts_with("/etc/ltsp/common.conf is not read any more"));
        assert!(warnings[1].starts_with("/etc/default/ltsp-update-image is not read any more"));
        let disabled = "LTSP_UPDATE_IMAGE_DISABLED (from /etc/ltsp/ltsp-update-image.conf:1) is ignored";
        assert!(warnings[2].starts_with(disabled), "{warnings:?}");
        let warnings = world.warnings(KERNELS);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[1].starts_with("TFTPDIRS (from "), "{warnings:?}");
        assert_eq!(world.value(IMAGE, "BASE"), "/opt/ltsp");
        let world = world.with("ltsp/ltsp-server.conf", "");
        assert_eq!(world.warnings("ltsp-config"), [""; 0]);
    }

    // S1: a file that is no regular file is as if it were not there.
    #[test]
    fn a_directory_in_the_place_of_a_file_is_passed_over() {
        let world =
            World::new(&[]).with("ltsp/ltsp-server.conf/x", "").with("ltsp/ltsp-update-image.conf.d", "A=1");
        assert_eq!(world.value(IMAGE, "BASE"), "/opt/ltsp");
        assert_eq!(world.value(IMAGE, "A"), "");
    }

    #[test]
    fn a_mistake_in_any_file_is_an_error_that_names_it() {
        for path in
            ["ltsp/ltsp-server.conf", "ltsp/ltsp-update-image.conf", "ltsp/ltsp-update-image.conf.d/x"]
        {
            let world = World::new(&[]).with(path, "A='\n");
            let error = load(world.sources(IMAGE), Vec::new()).unwrap_err().to_string();
            assert!(error.contains(&format!("/{path}:1: syntax error")), "{error}");
            assert!(load(world.sources("nbdswapd"), Vec::new()).is_err() == path.contains("server"));
        }
    }

    // N30
    #[test]
    fn the_settings_of_nbdswapd_come_from_one_file_only() {
        let world = World::new(&[("SIZE", "1"), ("SWAPDIR", "/env")])
            .with("ltsp/ltsp-server.conf", "SIZE=2\n")
            .with("ltsp/nbdswapd.conf", "NBD_SERVER_OPTS=\"$SIZE $SWAPDIR\"\n");
        let defaults = [("SIZE", "512"), ("RUN_MKSWAP", "true")];
        let found = load_one(world.sources("nbdswapd"), world.environment.clone(), &defaults).unwrap();
        assert_eq!(found.variables.get("NBD_SERVER_OPTS"), Some("512 /env".as_ref()));
        assert_eq!(found.variables.get("RUN_MKSWAP"), Some("true".as_ref()));
    }
}
