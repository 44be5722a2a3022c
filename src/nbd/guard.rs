//! The guard that keeps a server that uses NFS from being switched to NBD unasked.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::settings::{Action, Settings};
use crate::error::{Error, Result, shown};
use crate::nbd::configuration::below;
use crate::sys::command::quoted;

/// What the original looks for, whatever the base directory is (U14).
const USUAL_BASE: &[u8] = b"/opt/ltsp";

/// Passes, unless chroots seem to be exported over NFS and nothing says that NBD is wanted (U13).
///
/// A revert passes: it makes nothing that was not there (D14).
///
/// # Errors
/// With the command line that passes (U15, D14).
pub fn check(settings: &Settings) -> Result<()> {
    check_below(Path::new("/"), settings)
}

fn check_below(root: &Path, settings: &Settings) -> Result<()> {
    if settings.config_nbd || settings.action == Action::Revert {
        return Ok(());
    }
    if uses_nbd(&below(root, Path::new("/etc/nbd-server/conf.d"))) {
        return Ok(());
    }
    let mut files = vec![below(root, Path::new("/etc/exports"))];
    files.extend(files_below(&below(root, Path::new("/etc/exports.d"))));
    for file in files {
        // What cannot be read does not count (U14); only regular files are opened.
        let Ok(text) = read_regular(&file) else { continue };
        if let Some(exported) = exported(&text, &settings.base) {
            return Err(refusal(&file, exported, settings));
        }
    }
    Ok(())
}

/// Whether there is an export that LTSP has made, at any depth; `swap.conf` is none by its name (U16),
/// and links do not count.
fn uses_nbd(conf_d: &Path) -> bool {
    files_below(conf_d).iter().any(|path| {
        let name = path.file_name().unwrap_or_default().as_bytes();
        name.starts_with(b"ltsp_") && name.ends_with(b".conf") && name != b"ltsp_swap.conf"
    })
}

/// The line of an exports file that exports chroots, if there is one.
///
/// `/opt/ltsp` counts at the start of any line, whatever follows, so that a server that is protected today
/// stays so. The base directory in use counts as well, as a whole path or the start of one, and in every
/// form of exports(5): quoted, and with octal escapes (D14).
fn exported<'a>(text: &'a [u8], base: &Path) -> Option<&'a [u8]> {
    text.split(|byte| *byte == b'\n').find(|line| {
        if line.starts_with(USUAL_BASE) {
            return true;
        }
        let path = exported_path(line);
        let quoted = line.starts_with(b"\"") && path.starts_with(USUAL_BASE);
        quoted || (path.starts_with(b"/") && Path::new(OsStr::from_bytes(&path)).starts_with(base))
    })
}

/// The path at the start of a line: up to a blank, or in quotes; `\040` is a byte in octal.
fn exported_path(line: &[u8]) -> Vec<u8> {
    let (rest, ends): (&[u8], &[u8]) = match line.strip_prefix(b"\"") {
        Some(rest) => (rest, b"\""),
        None => (line, b" \t"),
    };
    let end = rest.iter().position(|byte| ends.contains(byte)).unwrap_or(rest.len());
    let mut rest = &rest[..end];
    let mut path = Vec::new();
    while let [first, after @ ..] = rest {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(octal.unwrap_or(*first));
        rest = &after[if octal.is_some() { 3 } else { 0 }..];
    }
    path
}

fn refusal(file: &Path, line: &[u8], settings: &Settings) -> Error {
    let path = exported_path(line);
    let path = Path::new(OsStr::from_bytes(&path));
    let mut sentence = format!(
        "this server seems to give its chroots to clients over NFS: {} exports {}",
        shown(file),
        shown(path)
    );
    // The original compares text, so that /opt/ltsp-old counts, too.
    if !path.starts_with(&settings.base) && !path.starts_with(OsStr::from_bytes(USUAL_BASE)) {
        sentence.push_str(&format!(", which only begins like {}", shown(OsStr::from_bytes(USUAL_BASE))));
    }
    Error::said(sentence).hint(format!("to go over to NBD, run: {}", command_line(settings)))
}

/// The command line that was given, and `--config-nbd`.
fn command_line(settings: &Settings) -> String {
    let option = [OsString::from("--config-nbd")];
    let dashes = settings.operands.iter().any(|operand| operand.as_bytes().starts_with(b"-"));
    let dashes = dashes.then(|| OsString::from("--"));
    let words = [&settings.called_as]
        .into_iter()
        .chain(&option)
        .chain(&settings.given_options)
        .chain(&dashes)
        .chain(&settings.operands);
    words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The regular files in a folder and below it, in the order of their names; links are not followed. What
/// cannot be read has none.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

fn read_regular(path: &Path) -> std::io::Result<Vec<u8>> {
    if fs::metadata(path)?.is_file() { fs::read(path) } else { Ok(Vec::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{Compression, Engine, Steps};
    use crate::sys::command::Changes;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn settings(base: &str) -> Settings {
        Settings {
            action: Action::Build,
            base: base.into(),
            operands: Vec::new(),
            cleanup: false,
            excluded_mounts: Vec::new(),
            backup: true,
            compression: Compression::default(),
            engine: Engine::Automatic,
            verify: false,
            exclude_file: None,
            excludes: Vec::new(),
            config_nbd: false,
            given_options: Vec::new(),
            tftp_dirs: None,
            tftp_boot_dir: None,
            known_tftp_dirs: Vec::new(),
            steps: Steps { image: true, kernels: true, exports: true },
            called_as: "ltsp-update-image".into(),
            child_environment: Changes::default(),
        }
    }

    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn passes(files: &[(&str, &str)], base: &str) -> bool {
        check_below(tree(files).path(), &settings(base)).is_ok()
    }

    const NFS: (&str, &str) = ("etc/exports", "# x\n/opt/ltsp *(ro)\n");

    // U13, U14, D14
    #[test]
    fn an_export_of_chroots_is_refused() {
        let cases = [
            ("/opt/ltsp", "/opt/ltsp *(ro)\n", false),
            ("/opt/ltsp", "/srv *(ro)\n/opt/ltsp/amd64 *(ro)", false),
            ("/opt/ltsp", "/opt/ltsp-old *(ro)\n", false),
            ("/opt/ltsp", "/opt *(ro)\n", true),
            ("/opt/ltsp", " /opt/ltsp *(ro)\n", true),
            ("/opt/ltsp", "#/opt/ltsp *(ro)\n", true),
            ("/opt/ltsp", "\"/opt/ltsp\" *(ro)\n", false),
            ("/srv/base", "/opt/ltsp *(ro)\n", false),
            ("/srv/base", "/srv/base *(ro)\n", false),
            ("/srv/base", "/srv/base/amd64 *(ro)\n", false),
            ("/srv/base", "/srv/base2 *(ro)\n", true),
            ("/srv/my base", "/srv/my\\040base *(ro)\n", false),
            ("/srv/my base", "\"/srv/my base\" *(ro)\n", false),
            ("/srv/my base", "/srv/my *(ro)\n", true),
            ("/opt/ltsp", "", true),
        ];
        for (base, text, expected) in cases {
            assert_eq!(passes(&[("etc/exports", text)], base), expected, "{base}: {text}");
        }
        assert!(passes(&[], "/opt/ltsp"));
    }

    // U13: at any depth, with any name
    #[test]
    fn every_regular_file_below_exports_d_counts() {
        for name in ["ltsp.exports", "stray~", "sub/deep/x"] {
            assert!(!passes(&[(&format!("etc/exports.d/{name}"), NFS.1)], "/opt/ltsp"), "{name}");
        }
        let root = tree(&[("elsewhere", NFS.1), ("etc/exports.d/x", "")]);
        symlink("../../elsewhere", root.path().join("etc/exports.d/link")).unwrap();
        let made = rustix::fs::mknodat(
            rustix::fs::CWD,
            root.path().join("etc/exports"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        );
        made.unwrap();
        assert!(check_below(root.path(), &settings("/opt/ltsp")).is_ok());
    }

    // U13, U16
    #[test]
    fn a_server_with_exports_of_ltsp_is_taken_to_use_nbd() {
        for (file, expected) in [
            ("etc/nbd-server/conf.d/ltsp_other.conf", true),
            ("etc/nbd-server/conf.d/sub/ltsp_other.conf", true),
            ("etc/nbd-server/conf.d/ltsp_swap.conf", false),
            ("etc/nbd-server/conf.d/swap.conf", false),
            ("etc/nbd-server/conf.d/ltsp_other.conf.old", false),
        ] {
            assert_eq!(passes(&[NFS, (file, "")], "/opt/ltsp"), expected, "{file}");
        }
        let root = tree(&[NFS, ("etc/nbd-server/conf.d/other", "")]);
        symlink("other", root.path().join("etc/nbd-server/conf.d/ltsp_link.conf")).unwrap();
        assert!(check_below(root.path(), &settings("/opt/ltsp")).is_err());
    }

    // U13, D14
    #[test]
    fn the_option_and_a_revert_pass() {
        let root = tree(&[NFS]);
        let asked = Settings { config_nbd: true, ..settings("/opt/ltsp") };
        check_below(root.path(), &asked).unwrap();
        let reverting = Settings { action: Action::Revert, ..settings("/opt/ltsp") };
        check_below(root.path(), &reverting).unwrap();
    }

    // U15, D14
    #[test]
    fn the_refusal_shows_the_whole_command_line_that_passes() {
        let given = Settings {
            given_options: vec!["-b".into(), "/srv/my base".into(), "-n".into()],
            operands: vec!["-x".into(), "amd64".into()],
            ..settings("/srv/my base")
        };
        let error = check_below(tree(&[NFS]).path(), &given).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.status(), 1);
        assert!(text.contains("NFS") && text.contains("etc/exports exports /opt/ltsp\n"), "{text}");
        let line = "ltsp-update-image --config-nbd -b '/srv/my base' -n -- -x amd64";
        assert!(text.ends_with(line), "{text}");

        let near = tree(&[("etc/exports", "/opt/ltsp-old *(ro)\n")]);
        let text = check_below(near.path(), &settings("/opt/ltsp")).unwrap_err().to_string();
        assert!(text.contains("/opt/ltsp-old, which only begins like /opt/ltsp"), "{text}");
    }
}
