//! Options for mounting a file system that is only read (S30).

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::error::{Error, Result, shown};
use crate::source::probe::FileSystem;
use crate::sys::mount::Mount;

/// Options that are no file system's own. They make no difference to what is read: nothing is written
/// through such a mount and no program runs from it.
const GENERIC: &[&str] = &[
    "_netdev",
    "async",
    "atime",
    "auto",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "group",
    "iversion",
    "lazytime",
    "loop",
    "loud",
    "mand",
    "noatime",
    "noauto",
    "nodev",
    "nodiratime",
    "noexec",
    "nofail",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nouser",
    "owner",
    "relatime",
    "ro",
    "silent",
    "strictatime",
    "suid",
    "sync",
    "user",
    "users",
];

/// Options for the file system itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    data: Vec<u8>,
}

impl MountOptions {
    /// What a file system needs in order to be read without a journal or log being replayed: that would
    /// write to the source (S30), and fails on what cannot be written to.
    pub fn for_reading(found: &FileSystem) -> Self {
        let data: &[u8] = match found.driver() {
            "ext4" => b"noload",
            // Its UUID may be that of a file system of this server, of which the disk is a copy. Its superblock
            // does not tell whether it is clean.
            "xfs" if found.unclean => b"norecovery,nouuid",
            "xfs" => b"nouuid",
            "btrfs" if found.unclean => b"rescue=nologreplay",
            "f2fs" | "nilfs2" => b"norecovery",
            _ => b"",
        };
        Self { data: data.to_vec() }
    }

    /// What the user gave in the place of the default ones.
    pub fn given(options: &OsStr) -> Self {
        let mut own = Vec::new();
        for option in options.as_bytes().split(|&byte| byte == b',') {
            if option == b"rw" {
                log::warn!("the mount option rw is passed over: sources are only read");
                continue;
            }
            let generic = GENERIC.iter().any(|generic| generic.as_bytes() == option)
                || [&b"x-"[..], b"X-", b"comment=", b"loop="].iter().any(|start| option.starts_with(start));
            if !option.is_empty() && !generic {
                own.push(option);
            }
        }
        Self { data: own.join(&b","[..]) }
    }

    /// The same with one more option.
    #[must_use]
    pub fn with(mut self, option: &[u8]) -> Self {
        if !self.data.is_empty() {
            self.data.push(b',');
        }
        self.data.extend_from_slice(option);
        self
    }

    /// Whether one of them chooses a subvolume.
    pub fn choose_subvolume(&self) -> bool {
        let mut options = self.data.split(|&byte| byte == b',');
        options.any(|option| option.starts_with(b"subvol=") || option.starts_with(b"subvolid="))
    }

    /// Mounts a device with them. `what` names for messages what is on it.
    ///
    /// # Errors
    /// The kernel's, explained as far as it can be.
    pub fn mount(&self, device: &Path, fstype: &OsStr, target: &Path, what: &str) -> Result<Mount> {
        let mounted = self.mount_if_clean(device, fstype, target, what)?;
        mounted.ok_or_else(|| self.refused(fstype, what, Errno::ROFS))
    }

    /// The same; none if a journal or log would have to be replayed, which these options do not rule out.
    ///
    /// # Errors
    /// The kernel's others, explained as far as they can be.
    pub fn mount_if_clean(
        &self,
        device: &Path,
        fstype: &OsStr,
        target: &Path,
        what: &str,
    ) -> Result<Option<Mount>> {
        let data = CString::new(&*self.data)
            .map_err(|_| Error::action(format!("mount {what}"), "a mount option holds a NUL byte"))?;
        match Mount::with_options(device, fstype, target, MountFlags::empty(), &data) {
            Ok(mount) => Ok(Some(mount)),
            // The device cannot be written to.
            Err(Errno::ROFS) => Ok(None),
            Err(source) => Err(self.refused(fstype, what, source)),
        }
    }

    fn refused(&self, fstype: &OsStr, what: &str, source: Errno) -> Error {
        let fstype = shown(fstype);
        let reason = std::io::Error::from(source).to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default().to_owned();
        let failed = |reason: String| Error::action(format!("mount {what}"), reason);
        let options = shown(OsStr::from_bytes(&self.data));
        match source {
            Errno::NODEV => {
                let module = if fstype == "iso9660" { "isofs" } else { &fstype };
                failed(format!("this kernel has no {fstype} file system"))
                    .hint(format!("try `modprobe {module}`; in a container ask its host"))
            }
            Errno::UCLEAN | Errno::IO => failed(format!("it is damaged ({reason})"))
                .hint("check it where it is used, with fsck"),
            Errno::ROFS => failed(format!("it was not unmounted, and its journal cannot be replayed ({fstype})"))
                .hint("shut the system on it down properly; or give the option noload (ext4) or norecovery (xfs)"),
            Errno::BUSY | Errno::EXIST => failed(format!("a file system with its UUID is mounted already ({fstype})"))
                .hint("unmount the other one, or give this one another UUID"),
            Errno::NOENT if self.choose_subvolume() => failed(format!("it has no such subvolume: {options}"))
                .hint("`btrfs subvolume list` tells which ones it has"),
            Errno::INVAL if !self.data.is_empty() => failed(format!(
                "the kernel takes it for no sound {fstype} file system, or does not know one of the options {options}"
            ))
            .hint("`dmesg` tells which"),
            Errno::INVAL => failed(format!("the kernel takes it for no sound {fstype} file system"))
                .hint("`dmesg` tells why"),
            _ => failed(format!("{reason} ({fstype})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(options: &str) -> String {
        String::from_utf8(MountOptions::given(options.as_ref()).data).unwrap()
    }

    // S30
    #[test]
    fn a_users_options_replace_the_default_ones_and_generic_ones_mean_nothing() {
        assert_eq!(given("ro,noatime,loop,noload,user,x-systemd.automount"), "noload");
        assert_eq!(given("subvol=@,compress=zstd,defaults"), "subvol=@,compress=zstd");
        assert_eq!(given("rw"), "");
        assert!(MountOptions::given("ro,subvol=@".as_ref()).choose_subvolume());
        assert!(!MountOptions::given("ro".as_ref()).choose_subvolume());
    }

    // S30
    #[test]
    fn no_journal_is_replayed() {
        for (name, unclean, options) in [
            ("ext2", false, "noload"),
            ("ext4", true, "noload"),
            ("xfs", false, "nouuid"),
            ("xfs", true, "norecovery,nouuid"),
            ("btrfs", false, ""),
            ("btrfs", true, "rescue=nologreplay"),
            ("squashfs", false, ""),
        ] {
            let found = FileSystem { name, unclean, ..FileSystem::default() };
            assert_eq!(MountOptions::for_reading(&found).data, options.as_bytes(), "{name}");
        }
        let found = FileSystem { name: "ext4", ..FileSystem::default() };
        assert_eq!(MountOptions::for_reading(&found).with(b"x=y").data, b"noload,x=y");
        assert_eq!(MountOptions::default().with(b"x=y").data, b"x=y");
    }

    #[test]
    fn a_type_that_the_kernel_lacks_is_named_with_the_remedy() {
        let error = MountOptions::default().refused("vfat".as_ref(), "partition 1 of x.img", Errno::NODEV);
        assert_eq!(
            error.to_string(),
            "cannot mount partition 1 of x.img: this kernel has no vfat file system\n\
             hint: try `modprobe vfat`; in a container ask its host"
        );
    }
}
