//! The text of an export section of nbd-server, one section a file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The networks that may connect, as nbd-server reads them at each connection (N20).
pub const ALLOW: &str = "/etc/ltsp/nbd-server.allow";

/// One export, in a file of its own in `conf.d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name of its file.
    pub file: OsString,
    /// The name of the section, which is the name that clients ask for (B2).
    pub name: OsString,
    /// The whole text of the file.
    pub text: Vec<u8>,
}

impl Section {
    /// Swap space for each client, in a file named after its address (N6).
    pub fn swap() -> Self {
        let text = format!(
            "[swap]\n\
             exportname = /tmp/nbd-swap/%s\n\
             prerun = nbdswapd %s\n\
             postrun = rm -f %s\n\
             authfile = {ALLOW}\n"
        );
        Self { file: "swap.conf".into(), name: "swap".into(), text: text.into_bytes() }
    }

    /// The image `BASE/images/NAME.img`, under the name `BASE/NAME` (N7).
    ///
    /// # Errors
    /// Why nbd-server would misread such a section, as the end of a sentence about the name (D23).
    pub fn image(base: &Path, name: &OsStr) -> Result<Self, &'static str> {
        let base = base.as_os_str();
        for part in [base, name] {
            if let Some(reason) = misread(part) {
                return Err(reason);
            }
        }
        // A key's value begins after the blanks.
        if base.as_bytes().first().is_some_and(u8::is_ascii_whitespace) {
            return Err("begins with a blank");
        }
        let section = [base.as_bytes(), b"/", name.as_bytes()].concat();
        let mut text = Vec::new();
        for part in [
            b"[",
            &*section,
            b"]\nexportname = ",
            base.as_bytes(),
            b"/images/",
            name.as_bytes(),
            b".img\nreadonly = true\nauthfile = ",
            ALLOW.as_bytes(),
            b"\n",
        ] {
            text.extend_from_slice(part);
        }
        Ok(Self { file: file_of(name), name: OsString::from_vec(section), text })
    }

    /// Whether `text` is the file that LTSP 5.3 made for the image `name`: a section `[ltsp_NAME]`, which
    /// later releases replaced by themselves (H27).
    pub fn is_of_5_3(text: &[u8], name: &OsStr) -> bool {
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        first.trim_ascii_end() == [b"[ltsp_", name.as_bytes(), b"]"].concat()
    }
}

/// The file of the image `name`.
fn file_of(name: &OsStr) -> OsString {
    let mut file = OsString::from("ltsp_");
    file.push(name);
    file.push(".conf");
    file
}

/// Why nbd-server would not read this text back as it is.
///
/// Seen with nbd-server 3.24: it reads its files with glib's key file parser and takes `exportname` for a
/// printf format. Brackets and ASCII control characters end a section's name, or make it invalid; what is
/// not UTF-8, and a backslash that begins no escape, make a value invalid. Each of these keeps
/// the *whole* server from starting, not one export. `%` exports another file, or reads memory that is
/// not its own. Blanks, also at the ends, quotes, `#`, `;`, `=`, `$` and `*` are read back as they are.
fn misread(text: &OsStr) -> Option<&'static str> {
    let Some(text) = text.to_str() else { return Some("is not UTF-8") };
    text.chars().find_map(|character| match character {
        '[' | ']' => Some("has a bracket"),
        '%' => Some("has a percent sign"),
        '\\' => Some("has a backslash"),
        character if character.is_control() => Some("has a control character"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(section: &Section) -> &str {
        std::str::from_utf8(&section.text).unwrap()
    }

    // N6
    #[test]
    fn the_swap_section_runs_nbdswapd_and_removes_the_file() {
        let swap = Section::swap();
        assert_eq!(swap.file, "swap.conf");
        assert_eq!(
            text(&swap),
            "[swap]\nexportname = /tmp/nbd-swap/%s\nprerun = nbdswapd %s\npostrun = rm -f %s\n\
             authfile = /etc/ltsp/nbd-server.allow\n"
        );
    }

    // N7, N9, B2
    #[test]
    fn an_image_is_exported_under_the_root_path_of_its_clients() {
        let section = Section::image(Path::new("/opt/ltsp"), OsStr::new("a.b c")).unwrap();
        assert_eq!(section.file, "ltsp_a.b c.conf");
        assert_eq!(section.name, "/opt/ltsp/a.b c");
        assert_eq!(
            text(&section),
            "[/opt/ltsp/a.b c]\nexportname = /opt/ltsp/images/a.b c.img\nreadonly = true\n\
             authfile = /etc/ltsp/nbd-server.allow\n"
        );
    }

    // D23
    #[test]
    fn names_that_nbd_server_would_misread_are_refused() {
        let cases: [(&[u8], &str); 9] = [
            (b"a[b", "has a bracket"),
            (b"a]b", "has a bracket"),
            (b"100%", "has a percent sign"),
            (b"%s", "has a percent sign"),
            (b"a\\sb", "has a backslash"),
            (b"a\nexportname = /etc/shadow", "has a control character"),
            (b"a\tb", "has a control character"),
            (b"a\x7f", "has a control character"),
            (b"a\xff", "is not UTF-8"),
        ];
        for (name, reason) in cases {
            let name = OsStr::from_bytes(name);
            assert_eq!(Section::image(Path::new("/opt/ltsp"), name), Err(reason), "{name:?}");
            assert_eq!(Section::image(Path::new(name), OsStr::new("a")), Err(reason), "{name:?}");
        }
        assert_eq!(Section::image(Path::new(" x"), OsStr::new("a")), Err("begins with a blank"));
        for name in [" a ", "a\"b'c", "#a;b=c", "$HOME*?", "ä"] {
            assert!(Section::image(Path::new("/opt/ltsp"), OsStr::new(name)).is_ok(), "{name}");
        }
    }

    // N7, D23: what is accepted is read back by nbd-server as it is
    #[test]
    fn odd_names_that_are_accepted_are_served() {
        use crate::nbd::real_server::{Client, RealServer, image};
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("images")).unwrap();
        let names = ["a b", " lead", "trail ", "q\"uo'te", "#a;b=c", "$HOME*?{x}", "ä\u{a0}", "a,b:c~", "-x"];
        let sections = names.map(|name| Section::image(base.path(), OsStr::new(name)).unwrap());
        let server = RealServer::start(|conf_d| {
            for (name, section) in names.iter().zip(&sections) {
                image(&base.path().join(format!("images/{name}.img")));
                // Everybody may connect to this one, which has no list.
                let text = String::from_utf8(section.text.clone()).unwrap().replace(ALLOW, "/nonexistent");
                std::fs::write(conf_d.join(&section.file), text).unwrap();
            }
        });
        for section in &sections {
            let name = section.name.to_str().unwrap();
            assert_eq!(Client::connect(server.port, name).read(512), vec![1; 512], "{name}");
        }
    }

    // H27
    #[test]
    fn a_section_of_ltsp_5_3_is_known_by_its_first_line() {
        let name = OsStr::new("i386");
        assert!(Section::is_of_5_3(b"[ltsp_i386]\nexportname = /x\n", name));
        assert!(Section::is_of_5_3(b"[ltsp_i386]", name));
        for other in ["[/opt/ltsp/i386]\n", "# mine\n[ltsp_i386]\n", "[ltsp_amd64]\n", ""] {
            assert!(!Section::is_of_5_3(other.as_bytes(), name), "{other}");
        }
    }
}
