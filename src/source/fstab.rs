//! What a root's own etc/fstab mounts from the disk that the root is on (U3).

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::error::{During, Result};
use crate::source::probe::Content;
use crate::source::volume::{Id, Volume};
use crate::sys::confined::Root;

/// More than any admin writes, in bytes.
const LARGEST: u64 = 1 << 20;

/// File systems that are no part of a system's image: swap, the kernel's own, and those of a network or of
/// a program. vfat, the EFI system partition's, is one at `/boot`, where it holds the kernels.
const NOT_MOUNTED: &[&str] = &[
    "9p",
    "autofs",
    "binfmt_misc",
    "bpf",
    "ceph",
    "cgroup",
    "cgroup2",
    "cifs",
    "configfs",
    "davfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "exfat",
    "fusectl",
    "glusterfs",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "msdos",
    "nfs",
    "nfs4",
    "ntfs",
    "ntfs3",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "securityfs",
    "smb3",
    "smbfs",
    "sshfs",
    "swap",
    "sysfs",
    "tmpfs",
    "tracefs",
    "udf",
    "usbfs",
    "vboxsf",
    "virtiofs",
];

/// Directories whose content an image never has: there it is users' and machines' data, or in `.snapshots` what the
/// system once was.
const NOT_IN: &[&str] =
    &[".snapshots", "dev", "home", "media", "mnt", "proc", "run", "srv", "sys", "tmp", "var/tmp"];

/// One line of the file that asks for something to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What, as it stands there.
    pub spec: OsString,
    /// Where: relative to the root, as it stands there, without `.` and `..`.
    pub target: PathBuf,
    /// The option that chooses a subvolume of btrfs.
    pub subvolume: Option<Vec<u8>>,
    /// The system starts without it as well (`nofail`).
    pub optional: bool,
    /// It is a directory of the system itself, which is seen here too.
    pub bind: bool,
    /// It is a FAT: what some boot loaders want `/boot` to be.
    pub is_vfat: bool,
}

/// The entries for file systems on disks, parents before what is mounted in them. None of those whose
/// content has no place in an image.
///
/// # Errors
/// When the file cannot be read.
pub fn read(root: &Root) -> Result<Vec<Entry>> {
    let Some(file) = root.open_file("etc/fstab")? else { return Ok(Vec::new()) };
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).during("read", root.shown("etc/fstab"))?;
    Ok(parse(&text))
}

/// The volume that an entry means; none if it is not on this disk. `root` is the spec of the entry for
/// the root itself, which tells under which name the system knew the disk.
pub fn volume<'a>(spec: &OsStr, root: Option<&OsStr>, volumes: &'a [Volume]) -> Option<&'a Volume> {
    let spec = spec.as_bytes();
    let find = |fits: &dyn Fn(&Volume) -> bool| volumes.iter().find(|volume| fits(volume));
    let uuid = |volume: &Volume, wanted: &str| match &volume.content {
        Content::FileSystem(found) => {
            found.uuid.as_deref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted))
        }
        _ => false,
    };
    let label = |volume: &Volume, wanted: &[u8]| match &volume.content {
        Content::FileSystem(found) => found.label.as_deref().is_some_and(|label| label.as_bytes() == wanted),
        _ => false,
    };
    let partition_uuid = |volume: &Volume, wanted: &str| {
        volume.partition.as_ref().is_some_and(|partition| partition.uuid.eq_ignore_ascii_case(wanted))
    };
    let partition_label = |volume: &Volume, wanted: &[u8]| {
        let name = volume.partition.as_ref().and_then(|partition| partition.label.as_deref());
        name.is_some_and(|name| name.as_bytes() == wanted)
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |tag: &str, folder: &str| {
        let tagged = spec.strip_prefix(tag.as_bytes()).map(unquoted);
        tagged.map(<[u8]>::to_vec).or_else(|| spec.strip_prefix(folder.as_bytes()).map(by_udev))
    };
    if let Some(wanted) = value("UUID=", "/dev/disk/by-uuid/") {
        return find(&|volume| uuid(volume, &text(&wanted)));
    }
    if let Some(wanted) = value("LABEL=", "/dev/disk/by-label/") {
        return find(&|volume| label(volume, &wanted));
    }
    if let Some(wanted) = value("PARTUUID=", "/dev/disk/by-partuuid/") {
        return find(&|volume| partition_uuid(volume, &text(&wanted)));
    }
    if let Some(wanted) = value("PARTLABEL=", "/dev/disk/by-partlabel/") {
        return find(&|volume| partition_label(volume, &wanted));
    }
    let spec = text(spec);
    if let Some((disk, number)) = partition_number(&spec) {
        let same = match root.map(|root| root.to_string_lossy().into_owned()) {
            // The root is on this disk, so that its name is this disk's.
            Some(root) if partition_number(&root).is_some() => {
                partition_number(&root).is_some_and(|(root_disk, _)| root_disk == disk)
            }
            _ => FIRST_DISKS.contains(&disk),
        };
        return find(&|volume| same && volume.id == Id::Partition(number));
    }
    find(&|volume| match &volume.id {
        Id::Logical { group, volume } => {
            // The device mapper doubles dashes, and puts one between group and volume.
            let mapped = format!("/dev/mapper/{}-{}", group.replace('-', "--"), volume.replace('-', "--"));
            spec == mapped || spec == format!("/dev/{group}/{volume}")
        }
        Id::Whole | Id::Partition(_) => false,
    })
}

/// The names of the first disk.
const FIRST_DISKS: &[&str] =
    &["/dev/sda", "/dev/vda", "/dev/xvda", "/dev/hda", "/dev/nvme0n1p", "/dev/mmcblk0p"];

/// A device name's disk and number: `/dev/sda2`, `/dev/nvme0n1p2`, `/dev/disk/by-path/…-part2`.
fn partition_number(name: &str) -> Option<(&str, u32)> {
    let disk = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[disk.len()..].parse().ok()?;
    let known = disk.ends_with("-part") && disk.starts_with("/dev/disk/by-")
        || disk.strip_prefix("/dev/").is_some_and(|disk| {
            ["sd", "vd", "xvd", "hd"].iter().any(|kind| {
                disk.strip_prefix(kind).is_some_and(|letters| {
                    !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_lowercase())
                })
            }) || disk.ends_with('p') && (disk.starts_with("nvme") || disk.starts_with("mmcblk"))
        });
    known.then_some((disk, number))
}

/// A tag's value may be in double quotes (fstab(5)).
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// Udev writes other characters than plain ones in its links as `\xNN`.
fn by_udev(name: &[u8]) -> Vec<u8> {
    decoded(name, b"\\x", 2, 16)
}

/// The entries of a file's text.
fn parse(text: &[u8]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = text.split(|&byte| byte == b'\n').filter_map(entry).collect();
    entries.sort_by_key(|entry| entry.target.components().count());
    entries
}

fn entry(line: &[u8]) -> Option<Entry> {
    let fields = line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    // Blanks and backslashes in names are written as octal numbers.
    let mut fields = fields.map(|field| decoded(field, b"\\", 3, 8));
    let (spec, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
    if spec.starts_with(b"#") || !target.starts_with(b"/") {
        return None;
    }
    let kind = String::from_utf8_lossy(&kind).into_owned();
    if NOT_MOUNTED.contains(&&*kind) || kind.starts_with("fuse") {
        return None;
    }
    let parts = Path::new(OsStr::from_bytes(&target)).components();
    let target: PathBuf = parts.filter(|part| matches!(part, Component::Normal(_))).collect();
    if NOT_IN.iter().any(|excluded| target.starts_with(excluded)) {
        return None;
    }
    let is_vfat = kind == "vfat";
    if is_vfat && target != Path::new("boot") {
        return None;
    }
    let options = fields.next().unwrap_or_default();
    let mut subvolume = None;
    let (mut optional, mut bind) = (false, false);
    for option in options.split(|&byte| byte == b',') {
        match option {
            // Not there at the start.
            b"noauto" | b"_netdev" | b"loop" => return None,
            b"nofail" => optional = true,
            b"bind" | b"rbind" => bind = true,
            _ if option.starts_with(b"subvol=") || option.starts_with(b"subvolid=") => {
                subvolume = Some(option.to_vec());
            }
            _ => {}
        }
    }
    Some(Entry { spec: OsString::from_vec(spec), target, subvolume, optional, bind, is_vfat })
}

/// Replaces each `mark` that `digits` digits of this base follow by the byte that they give.
fn decoded(text: &[u8], mark: &[u8], digits: usize, base: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let number = rest.strip_prefix(mark).and_then(|rest| rest.get(..digits));
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, base).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[mark.len() + digits..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::volume::tests::volume as make;

    fn targets(text: &str) -> Vec<String> {
        let entries = parse(text.as_bytes()).into_iter();
        entries.map(|entry| entry.target.into_os_string().into_string().unwrap()).collect()
    }

    // U3
    #[test]
    fn real_file_systems_are_taken_parents_first() {
        let text = "# /etc/fstab\n\nUUID=1 /usr/local ext4 defaults 0 2\nUUID=2 / ext4 errors=remount-ro 0 1\n\
            \tUUID=3\t/boot   ext4 defaults 0 2\nUUID=4 /usr xfs ro\n/dev/sda9 /my\\040files ext4\n\
            UUID=5 /boot/efi vfat umask=0077 0 1\nUUID=6 none swap sw 0 0\n/swapfile swap swap sw\n\
            tmpfs /tmp tmpfs size=1g\nproc /proc proc defaults\nserver:/x /opt nfs defaults\n\
            /dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\nUUID=7 /home ext4 defaults\nUUID=2 /.snapshots btrfs subvol=/@/x\n\
            UUID=8 /data ext4 noauto\n/srv/a /opt none bind\n//s/share /opt cifs x\nhost: /opt fuse.sshfs x\n\
            UUID=9 relative ext4\nUUID=10 /short\n";
        assert_eq!(targets(text), ["", "boot", "usr", "my files", "opt", "usr/local"]);
    }

    #[test]
    fn a_target_never_climbs() {
        assert_eq!(targets("UUID=1 /../../etc/./x// ext4\n"), ["etc/x"]);
    }

    #[test]
    fn directories_that_are_bound_and_a_fat_with_kernels_are_told_apart() {
        let entries = parse(b"/srv/a /opt none rw,bind\nUUID=1 /boot vfat umask=0077 0 1\n");
        assert!(entries[0].bind && !entries[0].is_vfat && entries[1].is_vfat && !entries[1].bind);
    }

    #[test]
    fn subvolumes_and_optional_ones_are_told() {
        let entries =
            parse(b"UUID=1 /var btrfs defaults,subvol=@var,nofail\nUUID=1 /opt btrfs subvolid=256,x=y\n");
        assert_eq!(entries[0].subvolume.as_deref(), Some(&b"subvol=@var"[..]));
        assert!(entries[0].optional && !entries[1].optional);
        assert_eq!(entries[1].subvolume.as_deref(), Some(&b"subvolid=256"[..]));
    }

    #[test]
    fn each_way_of_naming_a_volume_is_understood() {
        let volumes = [
            make(Id::Partition(1), "aaaa", "boot", "11-22", Some("Boot part")),
            make(Id::Partition(2), "BBBB", "my root", "33-44", None),
            make(Id::Logical { group: "vg-0".into(), volume: "var".into() }, "cccc", "", "", None),
        ];
        let found = |spec: &str, root: Option<&str>| {
            let root = root.map(OsStr::new);
            volumes.iter().position(|v| volume(spec.as_ref(), root, &volumes) == Some(v))
        };
        for (spec, index) in [
            ("UUID=aaaa", Some(0)),
            ("UUID=\"bbbb\"", Some(1)),
            ("/dev/disk/by-uuid/cccc", Some(2)),
            ("UUID=", None),
            ("LABEL=boot", Some(0)),
            ("LABEL=\"my root\"", Some(1)),
            ("/dev/disk/by-label/my\\x20root", Some(1)),
            ("PARTUUID=11-22", Some(0)),
            ("/dev/disk/by-partuuid/33-44", Some(1)),
            ("PARTLABEL=Boot part", Some(0)),
            ("/dev/disk/by-partlabel/Boot\\x20part", Some(0)),
            ("/dev/mapper/vg--0-var", Some(2)),
            ("/dev/vg-0/var", Some(2)),
            ("/dev/mapper/vg-0-var", None),
            ("/dev/sda1", Some(0)),
            ("/dev/nvme0n1p2", Some(1)),
            ("/dev/vda3", None),
            ("/dev/sdb1", None),
            ("/dev/sda", None),
            ("/dev/md0", None),
            ("/dev/fd0", None),
            ("/dev/disk/by-path/pci-0-part1", None),
            ("ZFS=x", None),
        ] {
            assert_eq!(found(spec, None), index, "{spec}");
        }
        for (spec, root, index) in [
            ("/dev/sdb1", "/dev/sdb2", Some(0)),
            ("/dev/sda1", "/dev/sdb2", None),
            ("/dev/sda1", "UUID=bbbb", Some(0)),
            ("/dev/disk/by-id/ata-x-part1", "/dev/disk/by-id/ata-x-part2", Some(0)),
        ] {
            assert_eq!(found(spec, Some(root)), index, "{spec} {root}");
        }
    }

    #[test]
    fn the_file_is_not_looked_for_outside_the_root_and_a_pipe_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("etc/fstab")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(read(&root).unwrap(), []);
        std::fs::remove_file(dir.path().join("etc/fstab")).unwrap();
        rustix::fs::mkfifoat(&root, "etc/fstab", rustix::fs::Mode::from(0o600)).unwrap();
        assert_eq!(read(&root).unwrap(), []);
    }
}
