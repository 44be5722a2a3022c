use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join("etc").join(name), text).unwrap();
    }
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

fn text(root: &Root, name: &str) -> String {
    String::from_utf8(root.read(Path::new("etc").join(name)).unwrap().unwrap()).unwrap()
}

fn kept(passwd: &str, group: &str) -> [String; 4] {
    let (_dir, root) = root(&[("passwd", passwd), ("group", group)]);
    keep_system_accounts(&root, &Ranges::default()).unwrap();
    ["passwd", "group", "shadow", "gshadow"].map(|name| text(&root, name))
}

// I14, I15, I16, I17
#[test]
fn people_go_and_the_groups_that_only_they_need() {
    let [passwd, group, shadow, gshadow] = kept(
        "root:x:0:0:root:/root:/bin/bash\nsvc:x:999:1005::/:/bin/false\nfirst:x:1000:1000::/home/first:/bin/sh\n\
         edge:x:60000:100::/:/bin/sh\nldap:x:60001:100::/:/bin/sh\n",
        "root:x:0:\nadm:x:4:first,svc\nusers:x:100:ldap\nsvc:x:1005:svc\nmixed:secret:1003:first,root,root,\n\
         teachers:x:1002:first,edge\nfirst:x:1000:\nhigh:x:60001:\n",
    );
    assert_eq!(
        passwd,
        "root:x:0:0:root:/root:/bin/bash\nsvc:x:999:1005::/:/bin/false\nldap:x:60001:100::/:/bin/sh\n"
    );
    assert_eq!(shadow, "root:!:::::::\nsvc:!:::::::\nldap:!:::::::\n");
    assert_eq!(
        group,
        "root:x:0:\nadm:x:4:svc\nusers:x:100:\nsvc:x:1005:\nmixed:secret:1003:root\nhigh:x:60001:\n"
    );
    assert_eq!(gshadow, "root:*::\nadm:*::svc\nusers:*::\nsvc:*::\nmixed:*::root\nhigh:*::\n");
}

// I13, U5
#[test]
fn odd_lines_are_tolerated_and_leak_nothing() {
    let [passwd, group, shadow, gshadow] = kept(
        "  root:x:00:0:root:/root:/bin/bash\t\r\n\n#old:$6$x:7:7::/:\nshort:x:5:0\nno-id:$6$x:a:7::/:\n\
         no-group:x:6:77::/:/bin/sh\nlong:x:8:0::/:/bin/sh:more\nroot:y:0:0:Root:/root:/bin/sh\n+nis::::::\n",
        "root:x:0\n:x:5:\n\ndup:x:9:a\n+:::\ndup:y:9:root\nodd:x::\n",
    );
    assert_eq!(
        passwd,
        "root:y:0:0:Root:/root:/bin/sh\nshort:x:5:0:::\nno-group:x:6:77::/:/bin/sh\n\
         long:x:8:0::/:/bin/sh:more\n+nis::::::\n"
    );
    assert_eq!(shadow, "root:!:::::::\nshort:!:::::::\nno-group:!:::::::\nlong:!:::::::\n+nis::::::::\n");
    assert_eq!(group, "root:x:0:\ndup:y:9:root\n+:::\n");
    assert_eq!(gshadow, "root:*::\ndup:*::root\n+:::\n");
}

#[test]
fn names_need_not_be_utf_8() {
    let (_dir, root) = root(&[("group", "root:x:0:\n")]);
    fs::write(root.shown("etc/passwd"), b"m\xfcller:x:7:0:M\xfcller:/:\n").unwrap();
    keep_system_accounts(&root, &Ranges::default()).unwrap();
    assert_eq!(root.read("etc/shadow").unwrap().unwrap(), b"m\xfcller:!:::::::\n");
}

// U5
#[test]
fn a_folder_without_accounts_is_no_root_file_system() {
    for (files, missing) in [(&[][..], "etc/passwd"), (&[("passwd", "root:x:0:0::/:\n")], "etc/group")] {
        let (dir, root) = root(files);
        let error = keep_system_accounts(&root, &Ranges::default()).unwrap_err().to_string();
        assert!(error.contains(&format!("there is no {missing}: this is not a root")), "{error}");
        assert_eq!(fs::read_dir(dir.path().join("etc")).unwrap().count(), files.len());
    }
}

// I18
#[test]
fn modes_and_owners_are_those_of_the_original() {
    let files = [("passwd", "root:x:0:0::/:\n"), ("group", "root:x:0:\nshadow:x:4711:\n")];
    let attributes = |root: &Root, name: &str| {
        let status = fs::symlink_metadata(root.shown(format!("etc/{name}"))).unwrap();
        (status.mode() & 0o7777, status.uid(), status.gid())
    };
    // No shadow: the root's own group of that name.
    let (_dir, without) = root(&files);
    fs::set_permissions(without.shown("etc/passwd"), fs::Permissions::from_mode(0o600)).unwrap();
    keep_system_accounts(&without, &Ranges::default()).unwrap();
    // As shadow is.
    let (_dir, with) = root(&files);
    fs::write(with.shown("etc/real"), "").unwrap();
    chown(with.shown("etc/real"), Some(11), Some(22)).unwrap();
    symlink("/etc/real", with.shown("etc/shadow")).unwrap();
    keep_system_accounts(&with, &Ranges::default()).unwrap();
    for (root, owner) in [(&without, (0, 4711)), (&with, (11, 22))] {
        for (name, expected) in [
            ("passwd", (0o644, 0, 0)),
            ("group", (0o644, 0, 0)),
            ("shadow", (0o640, owner.0, owner.1)),
            ("gshadow", (0o640, owner.0, owner.1)),
        ] {
            assert_eq!(attributes(root, name), expected, "{name}");
        }
    }
    assert_eq!(fs::read(with.shown("etc/real")).unwrap(), b"");
}

// U9
#[test]
fn databases_of_the_server_are_never_reached() {
    let (host, outer) = root(&[("passwd", "root:x:0:0::/:\nme:x:1000:0::/:\n"), ("group", "root:x:0:\n")]);
    fs::create_dir_all(outer.shown("chroot/etc")).unwrap();
    let inner = outer.dir("chroot").unwrap().unwrap();
    for name in ["passwd", "group", "shadow", "passwd-"] {
        symlink(host.path().join("etc").join(name), inner.shown(format!("etc/{name}"))).unwrap();
    }
    let error = keep_system_accounts(&inner, &Ranges::default()).unwrap_err().to_string();
    assert!(error.contains("etc/passwd is no file"), "{error}");
    fs::remove_file(inner.shown("etc/passwd")).unwrap();
    fs::remove_file(inner.shown("etc/group")).unwrap();
    fs::write(inner.shown("etc/passwd"), "daemon:x:1:1::/:\n").unwrap();
    symlink("/etc/real-group", inner.shown("etc/group")).unwrap();
    fs::write(inner.shown("etc/real-group"), "daemon:x:1:\n").unwrap();
    keep_system_accounts(&inner, &Ranges::default()).unwrap();
    assert_eq!(text(&inner, "passwd"), "daemon:x:1:1::/:\n");
    assert_eq!(text(&inner, "group"), "daemon:x:1:\n");
    assert!(!inner.shown("etc/group").is_symlink());
    assert_eq!(text(&outer, "passwd"), "root:x:0:0::/:\nme:x:1000:0::/:\n");
    assert_eq!(fs::read_dir(host.path().join("etc")).unwrap().count(), 2);
}

// I20
#[test]
fn names_with_one_character_more_are_copies() {
    let (_dir, root) = root(&[("passwd", "root:x:0:0::/:\n"), ("group", "root:x:0:\n")]);
    let copies = ["passwd-", "shadow~", "groupX", "subuid-", "subgidé", "gshadow+"];
    let others = ["group12", "passwd.bak", "subuid", "subgid", "shadowconfig"];
    for name in copies.iter().chain(&others) {
        fs::write(root.shown(format!("etc/{name}")), "").unwrap();
    }
    keep_system_accounts(&root, &Ranges::default()).unwrap();
    for (names, stay) in [(&copies[..], false), (&others, true)] {
        for name in names {
            assert_eq!(root.is_file(format!("etc/{name}")).unwrap(), stay, "{name}");
        }
    }
    fs::create_dir(root.shown("etc/groupd")).unwrap();
    let error = keep_system_accounts(&root, &Ranges::default()).unwrap_err().to_string();
    assert!(error.contains("etc/groupd: Is a directory"), "{error}");
}
