//! Our removal of accounts against that of the real `userdel` and `groupdel`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ltsp_core::cleanup::accounts::{IDS, remove_groups, remove_users};
use ltsp_core::sys::command::Command;
use ltsp_core::sys::confined::Root;

use crate::numbers::Numbers;
use crate::world::World;

/// The account files by name, without the copies that the tools leave.
type Files = BTreeMap<String, String>;

// C22, C24
#[test]
fn the_result_is_that_of_userdel_and_groupdel() {
    let world = World::new();
    let root = machine(&world);
    let mut numbers = Numbers(1);
    for case in 0..60 {
        let files = generated(&mut numbers);
        write(&root, &files);
        remove_with_the_tools(&root);
        let theirs = read(&root);
        write(&root, &files);
        let ours = Root::open(&root).unwrap();
        remove_users(&ours).unwrap();
        remove_groups(&ours).unwrap();
        assert_eq!(read(&root), theirs, "case {case}, of {files:#?}");
    }
}

/// The programs of this machine, with an `/etc` of their own.
fn machine(world: &World) -> std::path::PathBuf {
    let root = world.path.join("machine");
    world.tmpfs(&root);
    for name in ["bin", "sbin", "lib", "lib64", "usr"] {
        let (real, here) = (Path::new("/").join(name), root.join(name));
        if let Ok(target) = fs::read_link(&real) {
            symlink(target, here).unwrap();
        } else if real.is_dir() {
            fs::create_dir(&here).unwrap();
            rustix::mount::mount_bind(&real, &here).unwrap();
        }
    }
    for name in ["etc", "dev", "run", "var"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("dev/null"), "").unwrap();
    fs::write(root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nshadow: files\ngshadow: files\n")
        .unwrap();
    root
}

fn remove_with_the_tools(root: &Path) {
    for (file, tool, statuses) in [("passwd", "userdel", &[0_u8][..]), ("group", "groupdel", &[0, 8])] {
        let text = fs::read_to_string(root.join("etc").join(file)).unwrap();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.get(2).and_then(|id| id.parse().ok()).is_some_and(|id| IDS.contains(&id)) {
                let command = Command::new(format!("/usr/sbin/{tool}")).arg(fields[0]).chroot(root);
                let finished = command.output().unwrap();
                // 8: it is the primary group of an account.
                let said = String::from_utf8_lossy(&finished.stderr).into_owned();
                assert!(statuses.contains(&finished.exit_code()), "{tool} {}: {said}", fields[0]);
            }
        }
    }
}

fn write(root: &Path, files: &Files) {
    let etc = root.join("etc");
    for entry in fs::read_dir(&etc).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "nsswitch.conf" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for (name, text) in files {
        fs::write(etc.join(name), text).unwrap();
    }
}

fn read(root: &Path) -> Files {
    let names = ["passwd", "shadow", "group", "gshadow", "subuid", "subgid", "login.defs"];
    let text = |name: &str| fs::read_to_string(root.join("etc").join(name)).ok();
    names.into_iter().filter_map(|name| Some((name.to_owned(), text(name)?))).collect()
}

/// Accounts around the borders of the range, private groups in and out of it, members of all kinds, and
/// files that some machines do not have.
fn generated(numbers: &mut Numbers) -> Files {
    let ids = [1, 33, 100, 499, 500, 501, 999, 1000, 1001, 1002, 1003, 59_999, 60_000, 60_001, 65_534];
    let users: Vec<String> = (0..=numbers.next(9)).map(|number| format!("user{number}")).collect();
    let mut anyone = users.clone();
    anyone.extend(["root".to_owned(), "ghost".to_owned()]);

    let mut passwd = "root:x:0:0:root:/root:/bin/sh\n".to_owned();
    let mut shadow = "root:$6$salt$hash:19000:0:99999:7:::\nghost:!:1::::::\n".to_owned();
    let mut group = "root:x:0:\n".to_owned();
    let mut gshadow = "root:*::\n".to_owned();
    let (mut subuid, mut subgid) = ("ghost:10:10\n".to_owned(), String::new());
    for (number, user) in (1_usize..).zip(&users) {
        let (uid, gid) = (*numbers.of(&ids), *numbers.of(&ids));
        passwd += &format!("{user}:x:{uid}:{gid}:Name,,,:/home/{user}:/bin/bash\n");
        if !numbers.one_in(4) {
            shadow += &format!("{user}:$y$j9T${user}:19000:0:99999:7:::\n");
        }
        if !numbers.one_in(3) {
            let group_gid = if numbers.one_in(3) { *numbers.of(&ids) } else { gid };
            let list = if numbers.one_in(2) { String::new() } else { numbers.members(&anyone) };
            group += &format!("{user}:x:{group_gid}:{list}\n");
            if !numbers.one_in(4) {
                gshadow += &format!("{user}:!:{}:{list}\n", numbers.members(&anyone));
            }
        }
        if numbers.one_in(2) {
            subuid += &format!("{user}:{}:65536\n", number * 65536);
            subgid += &format!("{user}:{}:65536\n", number * 65536);
        }
    }
    for number in 0..numbers.next(6) {
        let (gid, list) = (*numbers.of(&ids), numbers.members(&anyone));
        group += &format!("group{number}:x:{gid}:{list}\n");
        gshadow += &format!("group{number}:!:{}:{list}\n", numbers.members(&anyone));
    }
    if numbers.one_in(4) {
        passwd += "+::::::\n\n#c:x:7:7::/:\n";
        group += "+:::\n\n# comment\n#a:x:1:user1\nodd\n";
        gshadow += "+:::\n# comment\n#a:x:1:user1\nodd\n";
    }

    let mut files = Files::from([("passwd".to_owned(), passwd), ("group".to_owned(), group)]);
    for (name, text) in [("shadow", shadow), ("gshadow", gshadow), ("subuid", subuid), ("subgid", subgid)] {
        if !numbers.one_in(6) {
            files.insert(name.to_owned(), text);
        }
    }
    match numbers.next(4) {
        0 => {}
        1 => drop(files.insert("login.defs".to_owned(), "USERGROUPS_ENAB no\n".to_owned())),
        _ => drop(
            files.insert("login.defs".to_owned(), "MAIL_DIR /var/mail\nUSERGROUPS_ENAB yes\n".to_owned()),
        ),
    }
    files
}
