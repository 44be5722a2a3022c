//! Single things that random trees do not hold, or not for sure.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ltsp_core::error::Result;
use ltsp_core::excludes::{Excludes, Pattern};
use ltsp_core::squashfs::{self, Summary, WriteOptions};
use ltsp_core::sys::mount::Mount;
use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};

use crate::equality::setting;
use crate::image::{Workshop, without_access_to_all};
use crate::random::Random;

fn write(workshop: &Workshop, options: &WriteOptions, excluded: &Excludes) -> Result<Summary> {
    let path = workshop.image();
    let file = File::create(&path).unwrap();
    squashfs::write(&workshop.source(), &file, &path, options, excluded, &mut |_| Ok(()))
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_may_have_more_than_4_gib() {
    let workshop = Workshop::new();
    let file = File::create(workshop.source().join("large")).unwrap();
    file.set_len((5 << 30) + 5).unwrap();
    file.write_all_at(b"in the middle", 9 << 29).unwrap();
    file.write_all_at(b"at the end", (5 << 30) - 5).unwrap();
    write(&workshop, &WriteOptions::default(), &Excludes::default()).unwrap();
    let (mounted, _mount) = workshop.mount();
    let stored = File::open(mounted.join("large")).unwrap();
    assert_eq!(stored.metadata().unwrap().len(), (5 << 30) + 5);
    assert!(stored.metadata().unwrap().blocks() < 1000, "holes take no space");
    for (at, expected) in
        [(9 << 29, &b"in the middle"[..]), ((5 << 30) - 5, b"at the end"), (1 << 20, &[0; 50])]
    {
        let mut bytes = vec![1; expected.len()];
        stored.read_exact_at(&mut bytes, at).unwrap();
        assert_eq!(bytes, expected);
    }
}

/// How many names a large directory has; for longer runs than the usual one.
const NAMES: (&str, u64) = ("SQUASHFS_NAMES", 20_000);

#[test]
fn the_names_of_a_large_directory_are_found() {
    let workshop = Workshop::new();
    let count = u32::try_from(setting(NAMES)).unwrap();
    let name = |n: u32| format!("{:05x}-{}", n.wrapping_mul(2_654_435_761) >> 12, n);
    for n in 0..count {
        File::create(workshop.source().join(name(n))).unwrap();
    }
    workshop.write(&WriteOptions { created: Some(0), ..WriteOptions::default() });
    workshop.read_by_others();
    let (mounted, _mount) = workshop.mount();
    for n in (0..count).step_by(3) {
        assert!(mounted.join(name(n)).exists(), "{}", name(n));
    }
    assert_eq!(fs::read_dir(&mounted).unwrap().count(), usize::try_from(count).unwrap());
    assert!(!mounted.join("00000").exists());
    assert!(!mounted.join("zzzzz").exists());
}

#[test]
fn an_empty_source_is_an_empty_image() {
    let workshop = Workshop::new();
    workshop.write(&WriteOptions::default());
    workshop.read_by_others();
    let (mounted, _mount) = workshop.mount();
    assert_eq!(names(&mounted), [""; 0]);
}

#[test]
fn what_is_excluded_stays_out_with_everything_below_it() {
    let workshop = Workshop::new();
    fs::create_dir_all(workshop.source().join("home/user")).unwrap();
    fs::create_dir_all(workshop.source().join("usr/home")).unwrap();
    fs::write(workshop.source().join("home/user/file"), "x").unwrap();
    write(
        &workshop,
        &WriteOptions::default(),
        &Excludes::new(vec![Pattern::parse("home/user".as_ref()).unwrap()]),
    )
    .unwrap();
    let (mounted, _mount) = workshop.mount();
    assert_eq!(names(&mounted), ["home", "usr"]);
    assert_eq!(names(&mounted.join("home")), [""; 0]);
    assert_eq!(names(&mounted.join("usr")), ["home"]);
}

#[test]
fn the_image_itself_stays_out() {
    let workshop = Workshop::new();
    let path = workshop.source().join("image");
    fs::write(workshop.source().join("other"), "x").unwrap();
    let file = File::create(&path).unwrap();
    squashfs::write(
        &workshop.source(),
        &file,
        &path,
        &WriteOptions::default(),
        &Excludes::default(),
        &mut |_| Ok(()),
    )
    .unwrap();
    fs::rename(&path, workshop.image()).unwrap();
    let (mounted, _mount) = workshop.mount();
    assert_eq!(names(&mounted), ["other"]);
}

#[test]
fn one_file_system_leaves_mount_points_empty() {
    let workshop = Workshop::new();
    let point = workshop.source().join("point");
    fs::create_dir(&point).unwrap();
    let _other = Mount::tmpfs(&point).unwrap();
    fs::write(point.join("elsewhere"), "x").unwrap();
    for (one_file_system, expected) in [(true, &[][..]), (false, &["elsewhere"])] {
        write(&workshop, &WriteOptions { one_file_system, ..WriteOptions::default() }, &Excludes::default())
            .unwrap();
        let (mounted, _mount) = workshop.mount();
        assert_eq!(names(&mounted.join("point")), expected);
    }
}

#[test]
fn source_date_epoch_makes_the_image_reproducible() {
    let workshop = Workshop::new();
    fs::write(workshop.source().join("new"), "x").unwrap();
    let mut options = WriteOptions { owner: Some(0), group: Some(0), ..WriteOptions::default() };
    options.source_date_epoch("1600000000").unwrap();
    let first = workshop.write(&options);
    fs::write(workshop.source().join("new"), "x").unwrap();
    assert!(workshop.write(&options) == first);
    let (mounted, _mount) = workshop.mount();
    assert_eq!(mounted.join("new").metadata().unwrap().mtime(), 1_600_000_000);
}

#[test]
fn access_control_lists_do_not_stop_the_image() {
    let workshop = Workshop::new();
    let path = workshop.source().join("listed");
    fs::write(&path, "x").unwrap();
    // Version 2; owner, user 1000, group, mask, other (include/uapi/linux/posix_acl_xattr.h).
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 6, 1000), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)]
    {
        list.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    lsetxattr(&path, "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
    workshop.write(&WriteOptions::default());
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        // What cannot be unmounted goes with the namespace of the test.
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn succeeds(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// XFS has room for the longest values, which ext4 has not.
#[test]
fn an_attribute_may_be_as_long_as_linux_allows() {
    let workshop = Workshop::new();
    let disk = workshop.folder.path().join("disk");
    File::create(&disk).unwrap().set_len(400 << 20).unwrap();
    succeeds(Command::new("mkfs.xfs").arg("-q").arg(&disk));
    succeeds(Command::new("mount").args(["-o", "loop"]).arg(&disk).arg(workshop.source()));
    let _source = Unmount(workshop.source());
    let value = Random::new(9).noise(65_536);
    let short = Random::new(10).noise(20);
    for name in ["one", "two", "three"] {
        let path = workshop.source().join(name);
        fs::write(&path, name).unwrap();
        lsetxattr(&path, "user.long", &value, XattrFlags::empty()).unwrap();
        lsetxattr(&path, format!("trusted.{name}"), &short, XattrFlags::empty()).unwrap();
        lsetxattr(&path, format!("user.{}", "n".repeat(250)), b"", XattrFlags::empty()).unwrap();
    }
    workshop.write(&WriteOptions::default());
    workshop.read_by_others();
    let (mounted, _mount) = workshop.mount();
    let mut buffer = vec![0; 70_000];
    for name in ["one", "two", "three"] {
        let path = mounted.join(name);
        for (attribute, expected) in [
            ("user.long".to_owned(), &value[..]),
            (format!("trusted.{name}"), &short),
            (format!("user.{}", "n".repeat(250)), b""),
        ] {
            let length = lgetxattr(&path, &attribute, &mut buffer[..]).unwrap();
            assert!(buffer[..length] == *expected, "{name}, {attribute}");
        }
    }
}

#[test]
fn times_that_squashfs_cannot_hold_become_the_nearest() {
    let workshop = Workshop::new();
    // ext4 ends in 2446, squashfs in 2106.
    let cases = [
        ("before", -5, 0),
        ("first", 0, 0),
        ("last", 0xffff_ffff, 0xffff_ffff),
        ("after", 1 << 32, 0xffff_ffff),
    ];
    for (name, time, _) in cases {
        let path = workshop.source().join(name);
        fs::write(&path, "x").unwrap();
        let time = rustix::fs::Timespec { tv_sec: time, tv_nsec: 7 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
    }
    workshop.write(&WriteOptions::default());
    let (mounted, _mount) = workshop.mount();
    for (name, _, expected) in cases {
        assert_eq!(mounted.join(name).metadata().unwrap().mtime(), expected, "{name}");
    }
}

#[test]
fn an_unreadable_file_is_an_error_that_names_it() {
    let workshop = Workshop::new();
    let path = workshop.source().join("secret");
    fs::write(&path, "x").unwrap();
    rustix::fs::chmod(&path, rustix::fs::Mode::empty()).unwrap();
    std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
    let result = without_access_to_all(|| write(&workshop, &WriteOptions::default(), &Excludes::default()));
    let message = result.unwrap_err().to_string();
    assert!(message.contains("secret: Permission denied"), "{message}");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_image() {
    let workshop = Workshop::new();
    fs::write(workshop.source().join("noise"), Random::new(1).noise(8 << 20)).unwrap();
    let image = Path::new("/dev/full");
    let file = File::options().write(true).open(image).unwrap();
    let result = squashfs::write(
        &workshop.source(),
        &file,
        image,
        &WriteOptions::default(),
        &Excludes::default(),
        &mut |_| Ok(()),
    );
    let message = result.unwrap_err().to_string();
    assert!(message.contains("/dev/full"), "{message}");
}

#[test]
fn the_report_can_stop_the_run() {
    let workshop = Workshop::new();
    fs::write(workshop.source().join("noise"), Random::new(1).noise(8 << 20)).unwrap();
    symlink("noise", workshop.source().join("link")).unwrap();
    let path = workshop.image();
    let file = File::create(&path).unwrap();
    let stop = || ltsp_core::error::Error::interrupted(15);
    let mut calls = 0;
    let mut report = |progress: squashfs::Progress| {
        assert_eq!((progress.total_bytes, progress.files), (8 << 20, 3));
        calls += 1;
        if progress.bytes < 3 << 20 { Ok(()) } else { Err(stop()) }
    };
    let result = squashfs::write(
        &workshop.source(),
        &file,
        &path,
        &WriteOptions::default(),
        &Excludes::default(),
        &mut report,
    );
    assert_eq!(result.unwrap_err().status(), 143);
    assert_eq!(calls, 3);
}
