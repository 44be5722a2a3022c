//! The package manager's locks on a source that cannot be written.

use std::fs;
use std::process::Command;

use ltsp_core::sys::confined::Root;
use ltsp_core::sys::lock::PackageLock;

use crate::world::World;

// I6
#[test]
fn a_read_only_root_is_read_without_a_lock_and_with_a_warning() {
    let world = World::new();
    world.file("chroot/var/lib/dpkg/lock", "");
    let chroot = world.path.join("chroot");
    let remount = |options: &str| {
        let status = Command::new("mount").args(["-o", options]).arg(&chroot).arg(&chroot).status().unwrap();
        assert!(status.success());
    };
    remount("bind");
    remount("remount,bind,ro");
    world.messages();
    let lock = PackageLock::acquire(&Root::open(&chroot).unwrap()).unwrap();
    let messages = world.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("WARN cannot lock") && messages[0].contains("read-only"), "{messages:?}");
    drop(lock);
    assert_eq!(fs::read(chroot.join("var/lib/dpkg/lock")).unwrap(), b"");
}
