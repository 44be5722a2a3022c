//! Shell wildcards with extended patterns, matched by the C library as mksquashfs has it do.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// glibc's `FNM_EXTMATCH` (fnmatch.h): `@(a|b)`, `!(a)` and their kind.
const FNM_EXTMATCH: libc::c_int = 1 << 5;

/// Whether `name` (one path component) fits `pattern`: `*`, `?` and brackets never match a leading dot
/// (X3). The flags are those that mksquashfs passes for `-wildcards`, and as in mksquashfs no locale is
/// set, so that bytes are compared.
pub fn matches(pattern: &OsStr, name: &OsStr) -> bool {
    fits(pattern, name, FNM_EXTMATCH)
}

/// The same without extended patterns, as a shell expands file names.
pub fn matches_plain(pattern: &OsStr, name: &OsStr) -> bool {
    fits(pattern, name, 0)
}

fn fits(pattern: &OsStr, name: &OsStr, more: libc::c_int) -> bool {
    let (Ok(pattern), Ok(name)) = (CString::new(pattern.as_bytes()), CString::new(name.as_bytes())) else {
        return false; // a NUL byte is in no file name
    };
    let flags = libc::FNM_PATHNAME | libc::FNM_PERIOD | more;
    // SAFETY: both arguments are NUL-terminated strings that outlive the call, which keeps neither.
    unsafe { libc::fnmatch(pattern.as_ptr(), name.as_ptr(), flags) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    // X3
    #[test]
    fn wildcards_are_those_of_the_shell_with_extended_patterns() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", ".a", false),
            ("?x", ".x", false),
            ("[.]x", ".x", false),
            (".*", ".x", true),
            ("!(a)", ".x", true),
            ("@(a|b)", "b", true),
            ("@(a|b)", "ab", false),
            ("+(ab)", "abab", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("??-persistent-*.rules", "70-persistent-net.rules", true),
            ("??-persistent-*.rules", "7-persistent-net.rules", false),
        ] {
            assert_eq!(matches(pattern.as_ref(), name.as_ref()), expected, "{pattern} against {name}");
        }
        assert!(matches_plain("@(a)*".as_ref(), "@(a)b".as_ref()));
        assert!(!matches_plain("@(a)".as_ref(), "a".as_ref()));
    }
}
