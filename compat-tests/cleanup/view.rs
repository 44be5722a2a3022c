//! The writable view (U53 to U65, D1, D12).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ltsp_core::overlay::View;
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mkfifoat, mknodat};

use crate::listing;
use crate::world::World;

/// The content of a file of the view.
fn read(view: &View, path: &str) -> Option<String> {
    fs::read_to_string(view.root().join(path)).ok()
}

// U62, U65
#[test]
fn what_is_written_in_the_view_stays_there_and_goes_with_it() {
    let world = World::new();
    let kept = world.file("chroot/etc/kept", "old");
    let removed = world.file("chroot/etc/removed", "old");
    let before = (world.mounts(), listing::of(&world.path.join("chroot")));
    let view = View::new(&world.path.join("chroot"), &[]).unwrap();
    fs::write(view.root().join("etc/kept"), "new").unwrap();
    fs::write(view.root().join("new"), "new").unwrap();
    fs::remove_file(view.root().join("etc/removed")).unwrap();
    assert_eq!(read(&view, "etc/kept").unwrap(), "new");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
    assert!(removed.exists());
    let place = view.root().parent().unwrap().to_owned();
    drop(view);
    assert!(!place.exists());
    assert_eq!((world.mounts(), listing::of(&world.path.join("chroot"))), before);
}

// The image is made from the view.
#[test]
fn the_view_reads_like_the_chroot() {
    let world = World::new();
    let chroot = world.path.join("chroot");
    for path in ["chroot/bin/ping", "chroot/etc/acl", "chroot/etc/user", "chroot/usr/lib/a", "chroot/b"] {
        world.file(path, path);
    }
    fs::hard_link(chroot.join("usr/lib/a"), chroot.join("etc/a")).unwrap();
    symlink("/usr/lib/a", chroot.join("etc/link")).unwrap();
    fs::create_dir(chroot.join("dev")).unwrap();
    let mode = Mode::from(0o620);
    mknodat(CWD, chroot.join("dev/tty0"), FileType::CharacterDevice, mode, makedev(4, 0)).unwrap();
    mknodat(CWD, chroot.join("dev/sda"), FileType::BlockDevice, mode, makedev(8, 0)).unwrap();
    mkfifoat(CWD, chroot.join("dev/fifo"), mode).unwrap();
    fs::set_permissions(chroot.join("b"), fs::Permissions::from_mode(0o4751)).unwrap();
    std::os::unix::fs::chown(chroot.join("etc/user"), Some(1000), Some(100_000)).unwrap();
    // A capability set and an access list, as the kernel stores them (linux/capability.h, posix_acl_xattr.h).
    let capability: Vec<u8> =
        [0x0200_0001_u32, 1 << 13, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let acl: Vec<u8> =
        [(1_u16, 6_u16, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)]
            .iter()
            .fold(2_u32.to_le_bytes().to_vec(), |mut acl, (tag, permissions, id)| {
                acl.extend(tag.to_le_bytes());
                acl.extend(permissions.to_le_bytes());
                acl.extend(id.to_le_bytes());
                acl
            });
    for (path, name, value) in [
        ("bin/ping", "security.capability", &capability[..]),
        ("etc/acl", "system.posix_acl_access", &acl),
        ("etc/user", "user.comment", b"text"),
        ("usr", "trusted.note", b"text"),
        ("", "user.root", b"of the root directory"),
    ] {
        lsetxattr(chroot.join(path), name, value, XattrFlags::empty()).unwrap();
    }
    fs::set_permissions(&chroot, fs::Permissions::from_mode(0o1751)).unwrap();
    std::os::unix::fs::chown(&chroot, Some(7), Some(8)).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_500_000_000, 123_456_789);
    fs::File::open(&chroot).unwrap().set_modified(old).unwrap();

    let view = View::new(&chroot, &[]).unwrap();
    let (mut shown, mut real) = (listing::of(view.root()), listing::of(&chroot));
    assert!(real.len() > 15);
    // The root directory is a new one, with the old one's owner, mode and attributes.
    let (new, old) = (shown.get_mut(Path::new("")).unwrap(), real.get_mut(Path::new("")).unwrap());
    assert!(new.mtime > old.mtime);
    new.mtime = old.mtime;
    assert_eq!(shown, real);
}

// U56, U58, D1, and what submounts.rs adds to it
#[test]
fn disk_file_systems_mounted_in_the_chroot_are_shown_and_others_are_not() {
    let world = World::new();
    let chroot = world.path.join("chroot");
    for (fstype, name) in [
        ("ext4", "boot"),
        ("ext4", "boot/with blank"),
        ("btrfs", "srv"),
        ("xfs", "x,y:z\\w"),
        ("ext4", "hidden"),
        ("ext4", "ram/below"),
    ] {
        if name == "ram/below" {
            world.file("chroot/ram/under", "what a tmpfs hides");
            world.tmpfs(&chroot.join("ram"));
        }
        world.disk(fstype, &chroot.join(name));
        world.file(&format!("chroot/{name}/note"), name);
    }
    world.tmpfs(&chroot.join("hidden"));
    world.file("chroot/hidden/note", "on the tmpfs");
    world.file("chroot/etc/hosts", "the file");
    let real = world.file("real-hosts", "mounted on the file");
    std::process::Command::new("mount")
        .arg("--bind")
        .arg(real)
        .arg(chroot.join("etc/hosts"))
        .status()
        .unwrap();
    let before = world.mounts();

    let view = View::new(&chroot, &[]).unwrap();
    for name in ["boot", "boot/with blank", "srv", "x,y:z\\w"] {
        assert_eq!(read(&view, &format!("{name}/note")).as_deref(), Some(name));
        fs::write(view.root().join(name).join("note"), "new").unwrap();
        assert_eq!(fs::read_to_string(chroot.join(name).join("note")).unwrap(), name);
    }
    assert_eq!(read(&view, "ram/under").as_deref(), Some("what a tmpfs hides"));
    assert_eq!(read(&view, "hidden/note"), None);
    assert_eq!(read(&view, "etc/hosts").as_deref(), Some("the file"));
    let messages = world.messages();
    let warned: Vec<_> = messages.iter().filter(|message| message.starts_with("WARN")).collect();
    assert_eq!(warned.len(), 1, "{messages:?}");
    assert!(warned[0].contains("chroot/ram/below stays out of the image"), "{warned:?}");
    assert!(messages.iter().any(|message| message.ends_with("chroot/srv (btrfs)")), "{messages:?}");
    drop(view);
    assert_eq!(world.mounts(), before);
}

// U57, D12
#[test]
fn excluded_mounts_are_not_shown() {
    let world = World::new();
    let chroot = world.path.join("chroot");
    let names = ["boot", "srv", "srv/data"];
    for name in names {
        world.disk("ext4", &chroot.join(name));
        world.file(&format!("chroot/{name}/note"), name);
    }
    let shown = |excluded: &[&str]| -> Vec<&str> {
        let excluded: Vec<PathBuf> = excluded.iter().map(|name| chroot.join(name)).collect();
        let view = View::new(&chroot, &excluded).unwrap();
        names.into_iter().filter(|name| view.root().join(name).join("note").exists()).collect()
    };
    assert_eq!(shown(&["boot"]), ["srv", "srv/data"]);
    assert_eq!(shown(&["boot", "srv/data"]), ["srv"]);
    assert_eq!(shown(&["srv/"]), ["boot"]); // what was mounted below it has no place any more
    assert_eq!(shown(&["sr"]), names);
}

#[test]
fn a_chroot_may_be_a_link_and_have_any_name() {
    let world = World::new();
    world.file("a:b,c\\d \n/boot/under", "x");
    world.disk("ext4", &world.path.join("a:b,c\\d \n/boot"));
    world.file("a:b,c\\d \n/boot/note", "x");
    symlink("a:b,c\\d \n", world.path.join("link")).unwrap();
    let view = View::new(&world.path.join("link"), &[]).unwrap();
    assert_eq!(read(&view, "boot/note").as_deref(), Some("x"));
}

// H26: ltsp-update-image --cleanup /
#[test]
fn a_view_of_the_running_system_does_not_show_itself() {
    let world = World::new();
    let view = View::new(Path::new("/"), &[]).unwrap();
    let place = view.root().parent().unwrap().to_owned();
    assert!(place.is_dir());
    assert!(!view.root().join(place.strip_prefix("/").unwrap()).exists());
    assert!(view.root().join("usr/bin").is_dir());
    assert_eq!(fs::read_dir(view.root().join("proc")).unwrap().count(), 0);
    drop(view);
    assert!(!place.exists());
    drop(world);
}

// Containers have their root on an overlay.
#[test]
fn a_chroot_on_an_overlay_works_but_not_on_two() {
    let world = World::new();
    world.file("chroot/etc/kept", "old");
    let outer = View::new(&world.path.join("chroot"), &[]).unwrap();
    let before = world.mounts();
    let inner = View::new(outer.root(), &[]).unwrap();
    assert_eq!(read(&inner, "etc/kept").as_deref(), Some("old"));
    let error = View::new(inner.root(), &[]).unwrap_err().to_string();
    assert!(error.contains("make a writable view of") && error.contains("stacks only two"), "{error}");
    drop(inner);
    assert_eq!(world.mounts(), before);
}

#[test]
fn a_chroot_that_does_not_exist_is_named() {
    let world = World::new();
    let before = world.mounts();
    let error = View::new(&world.path.join("nothing"), &[]).unwrap_err().to_string();
    assert!(error.contains("disk/nothing: No such file"), "{error}");
    world.file("file", "");
    View::new(&world.path.join("file"), &[]).unwrap_err();
    assert_eq!(world.mounts(), before);
}
