//! The server's own printers and name resolution (C16, C17; I10, I22).

use crate::error::Result;
use crate::sys::confined::Root;

/// Removes the printers that CUPS knows, but not the comments in its file (C16, I10).
///
/// If the file is a link, what it leads to inside the root is changed: the passwords of printers must not
/// survive there.
///
/// # Errors
/// When the file cannot be read or written.
pub fn printers(root: &Root) -> Result<()> {
    let path = "etc/cups/printers.conf";
    let Some(text) = root.read(path)? else { return Ok(()) };
    let comments: Vec<&[u8]> =
        text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.starts_with(b"#")).collect();
    let comments = comments.concat();
    if comments == text { Ok(()) } else { root.write(path, &comments) }
}

/// Undoes what makes a server ask its own dnsmasq for names, if `ltsp-config dnsmasq` has done it: a
/// client has none (C17, I22).
///
/// # Errors
/// When the files cannot be changed.
pub fn name_resolution(root: &Root) -> Result<()> {
    let path = "etc/systemd/resolved.conf.d/ltsp.conf";
    if !root.is_file(path)? {
        return Ok(());
    }
    root.remove(path)?;
    root.symlink("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn root(path: &str, text: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    // C16
    #[test]
    fn only_comments_stay_of_the_printers() {
        let (_dir, root) =
            root("etc/cups/printers.conf", "# top\n<Printer a>\n # no\nUUID x\n</Printer>\n#end");
        printers(&root).unwrap();
        assert_eq!(root.read("etc/cups/printers.conf").unwrap().unwrap(), b"# top\n#end");
    }

    // C17
    #[test]
    fn resolv_conf_becomes_a_link_only_if_ltsp_had_changed_name_resolution() {
        let (dir, root) = root("etc/systemd/resolved.conf.d/ltsp.conf", "[Resolve]\n");
        fs::write(dir.path().join("etc/resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        name_resolution(&root).unwrap();
        assert!(!root.is_file("etc/systemd/resolved.conf.d/ltsp.conf").unwrap());
        let target = fs::read_link(dir.path().join("etc/resolv.conf")).unwrap();
        assert_eq!(target.to_str().unwrap(), "../run/systemd/resolve/stub-resolv.conf");

        fs::remove_file(dir.path().join("etc/resolv.conf")).unwrap();
        fs::write(dir.path().join("etc/resolv.conf"), "x").unwrap();
        name_resolution(&root).unwrap();
        assert_eq!(root.read("etc/resolv.conf").unwrap().unwrap(), b"x");
    }
}
