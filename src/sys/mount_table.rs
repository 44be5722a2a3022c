//! What is mounted: `/proc/thread-self/mountinfo` as values.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::error::{During, Result};

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The kernel's number of this mount (statx(2) gives that of a file as `stx_mnt_id`): of two mounts
    /// at one place, it tells which one is seen.
    pub id: u64,
    /// Where it is mounted, unescaped (U58).
    pub path: PathBuf,
    /// The type: `ext4`, `tmpfs`...
    pub fstype: OsString,
    /// The file system's own options, as the kernel tells them: `ro,norecovery`.
    pub options: OsString,
}

/// All mounts that this thread sees, in the order in which they were made.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn read() -> Result<Vec<MountPoint>> {
    // A thread can have a namespace of its own.
    let path = "/proc/thread-self/mountinfo";
    Ok(parse(&std::fs::read(path).during("read", path)?))
}

/// The lines of a mountinfo file (proc_pid_mountinfo(5)); a line of another shape is passed over.
fn parse(text: &[u8]) -> Vec<MountPoint> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let path = fields.nth(3)?;
    // Optional fields end with a lone "-"; the type follows.
    let mut fields = fields.skip_while(|&field| field != b"-");
    let fstype = fields.nth(1)?;
    let options = fields.nth(1)?;
    Some(MountPoint { id, path: unescape(path).into(), fstype: unescape(fstype), options: unescape(options) })
}

/// Blanks, tabs, newlines, backslashes and `#` are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal =
            after.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok())
        {
            Some(escaped) => {
                out.push(escaped);
                rest = &after[3..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    // U58
    #[test]
    fn a_mount_point_with_a_blank_is_read_right() {
        let text =
            b"36 35 98:0 /mnt1 /mnt/with\\040space\\134x rw,noatime master:1 shared:2 - ext4 /dev/root ro,norecovery\n\
                     37 35 98:1 / / rw - tmpfs none rw\n";
        assert_eq!(
            parse(text),
            [
                MountPoint {
                    id: 36,
                    path: "/mnt/with space\\x".into(),
                    fstype: "ext4".into(),
                    options: "ro,norecovery".into(),
                },
                MountPoint { id: 37, path: "/".into(), fstype: "tmpfs".into(), options: "rw".into() },
            ]
        );
    }
}
