//! The exclude list of `ltsp image` and what refines it (I27, I28).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::list;
use crate::error::{During, Result, shown};
use crate::excludes::Pattern;

/// The list that counts without a file of the admin's.
const BUILT_IN: &str = include_str!("image.excludes");

/// Lines of the admin's own: the value of ADD_IMAGE_EXCLUDES or OMIT_IMAGE_EXCLUDES.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// The path of a file if there is one, otherwise the lines themselves.
    pub value: &'a OsStr,
    /// What messages call it.
    pub name: &'a str,
}

/// What stays out of an image of `ltsp image`, and who has said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageList {
    /// All patterns: those of the list, then those that are added.
    pub patterns: Vec<Pattern>,
    /// What the list is called: a path, or that it is the one built in.
    pub list: String,
    /// How many of its patterns count.
    pub listed: usize,
    /// How many of its patterns do not, because they are to be omitted.
    pub omitted: usize,
    /// What has added the others: a path, or the name of a variable.
    pub adder: String,
}

/// The patterns of the list, without the lines to omit and with those to add. The list is `own` if there
/// is such a file, and otherwise the one built in.
///
/// # Errors
/// When a file cannot be read, or a line holds a pattern that cannot be one.
pub fn image_list(own: &Path, add: Lines<'_>, omit: Lines<'_>) -> Result<ImageList> {
    let (text, list) = if own.is_file() {
        (read(own)?, shown(own))
    } else {
        (BUILT_IN.as_bytes().to_vec(), "the built-in list".to_owned())
    };
    let (lines, _) = omit.text()?;
    // Lines are compared as they are, blanks and all.
    let lines: BTreeSet<&[u8]> = lines.split(|&byte| byte == b'\n').collect();
    let omitted = Cell::new(0);
    let counts = |line: &[u8]| {
        let counts = !lines.contains(line);
        omitted.set(omitted.get() + usize::from(!counts));
        counts
    };
    let mut patterns = list::patterns(&text, &list, counts)?;
    let listed = patterns.len();
    let (added, adder) = add.text()?;
    patterns.extend(list::patterns(&added, &adder, |_| true)?);
    Ok(ImageList { patterns, list, listed, omitted: omitted.get(), adder })
}

impl Lines<'_> {
    /// The lines, and where they are from.
    fn text(&self) -> Result<(Vec<u8>, String)> {
        let path = Path::new(self.value);
        if path.is_file() {
            return Ok((read(path)?, shown(path)));
        }
        Ok((self.value.as_bytes().to_vec(), self.name.to_owned()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).during("read the exclude patterns in", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(own: &Path, add: &str, omit: &str) -> Result<Vec<String>> {
        let lines = |value, name| Lines { value: OsStr::new(value), name };
        let patterns = image_list(own, lines(add, "ADD"), lines(omit, "OMIT"))?.patterns;
        let mut texts: Vec<String> =
            patterns.iter().map(|pattern| pattern.text().to_str().unwrap().to_owned()).collect();
        texts.sort();
        Ok(texts)
    }

    // I27
    #[test]
    fn the_built_in_list_is_that_of_the_original() {
        const ORIGINAL: &str = "\
            cdrom/.* cdrom/* dev/* etc/epoptes/server.key etc/.!(java) etc/mysql/debian.cnf \
            etc/NetworkManager/system-connections/* etc/ssh/ssh_host_* \
            etc/udev/rules.d/??-persistent-*.rules home/* lost+found/* media/* mnt/* opt/ltsp* proc/* root/.* \
            root/* run/* srv/* swapfile sys/* tmp/.* tmp/* var/backups/* var/cache/apt/archives/*.deb \
            var/cache/apt/archives/partial/* var/cache/apt-xapian-index/* var/cache/lightdm/dmrc/* \
            var/cache/squid-deb-proxy/* var/crash/* var/lib/apt/lists/* var/lib/lightdm/.* var/lib/lightdm/* \
            var/lib/mysql/* var/lib/sudo/* var/lib/systemd/linger/* var/log/*.[1-9] var/log/*.gz \
            var/log/*.old var/log/*/* var/mail/* var/spool/cron/*/* var/spool/cups/* var/spool/squid/* \
            var/spool/squid3/* var/swap var/tmp/.* var/tmp/*";
        let mut original: Vec<&str> = ORIGINAL.split_whitespace().collect();
        original.sort_unstable();
        assert_eq!(texts("/nowhere".as_ref(), "", "").unwrap(), original);
    }

    // I27, I28
    #[test]
    fn lines_are_omitted_if_they_are_identical_and_then_others_added() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let own = file("image.excludes", "# mine\nhome/*\n  srv/*\ntmp/*\ntail \n");
        let more = file("more", "usr/share/doc\n# no\n");
        let more = more.to_str().unwrap();
        for (add, omit, expected) in [
            ("", "", &["home/*", "srv/*", "tail ", "tmp/*"][..]),
            ("", "home/*\nsrv/*\nno such line\ntail", &["srv/*", "tail ", "tmp/*"]),
            ("home/*\n# x\n  boot/*.old\n", "home/*\ntmp/*", &["boot/*.old", "home/*", "srv/*", "tail "]),
            (more, "", &["home/*", "srv/*", "tail ", "tmp/*", "usr/share/doc"]),
            ("", own.to_str().unwrap(), &[]),
        ] {
            assert_eq!(texts(&own, add, omit).unwrap(), expected, "{add} {omit}");
        }
        let lines = |value, name| Lines { value: OsStr::new(value), name };
        let list =
            image_list(&own, lines("usr/share/doc", "ADD"), lines("home/*\n# mine\nx", "OMIT")).unwrap();
        assert_eq!((list.listed, list.omitted, list.patterns.len()), (3, 1, 4));
        assert_eq!((list.list, list.adder), (shown(&own), "ADD".to_owned()));
    }

    // I29 (2)
    #[test]
    fn a_pattern_with_a_leading_slash_is_told_with_its_place() {
        let error = texts("/nowhere".as_ref(), "a\n/home/*", "").unwrap_err().to_string();
        assert!(error.starts_with("ADD, line 2: "), "{error}");
        // Omitting one that is not there does nothing.
        texts("/nowhere".as_ref(), "", "/home/*").unwrap();
    }
}
