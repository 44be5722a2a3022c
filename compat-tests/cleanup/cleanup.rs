//! The cleanup of a view, by the chroot's own program or by ours (section 6 of the specification).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ltsp_core::cleanup::clean;
use ltsp_core::error::Result;
use ltsp_core::overlay::View;
use ltsp_core::sys::command::Changes;
use ltsp_core::sys::confined::Root;

use crate::listing;
use crate::world::World;

const PROGRAM: &str = "chroot/usr/share/ltsp/ltsp-cleanup";

/// Cleans a view of `chroot`, and checks that the chroot stays as it was.
fn cleaned(world: &World) -> (View, Result<()>) {
    let chroot = world.path.join("chroot");
    let before = listing::of(&world.path);
    let view = View::new(&chroot, &[]).unwrap();
    let root = Root::open(view.root()).unwrap().known_as(&chroot);
    let changes = Changes { set: vec![("SITE".into(), "here".into())], removed: vec!["CARGO".into()] };
    let result = clean(&root, &changes);
    assert_eq!(listing::of(&world.path), before);
    (view, result)
}

fn read(view: &View, path: &str) -> Option<String> {
    fs::read_to_string(view.root().join(path)).ok()
}

/// What is different in the view: paths removed, made, or with another content.
fn changed(world: &World, view: &View) -> BTreeSet<PathBuf> {
    let (before, after) = (listing::of(&world.path.join("chroot")), listing::of(view.root()));
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let differs = |path: &&PathBuf| match (before.get(*path), after.get(*path)) {
        (Some(before), Some(after)) => before.content != after.content,
        _ => true,
    };
    paths.iter().filter(differs).cloned().collect()
}

// U59, C1, C27
#[test]
fn the_chroots_own_program_is_called_in_the_view_as_the_original_calls_it() {
    let world = World::new();
    world.busybox("chroot");
    world.file("chroot/etc/shadow-", "x");
    world.file("chroot/etc/passwd", "user:x:1000:1000::/:\n");
    let script = "#!/bin/sh\nread line && echo \"input: $line\"\necho \"arguments: $*\"\npwd\nid -u\n\
                  echo \"$PATH $HOME $SITE ${TMPDIR-none} ${CARGO-none}\"\nls /\ncat /etc/passwd\n";
    world.program(PROGRAM, &script.replace("\nread", "\nexec > /ran\nread"));
    let (view, result) = cleaned(&world);
    result.unwrap();
    assert_eq!(
        read(&view, "ran").unwrap(),
        "arguments: --yes\n/\n0\n\
         /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root here none none\n\
         bin\netc\nran\nusr\nuser:x:1000:1000::/:\n"
    );
    assert!(!view.root().join("etc/shadow-").exists()); // D28
    assert_eq!(world.messages(), [""; 0]);
}

// U59
#[test]
fn its_failure_is_ours_with_its_status() {
    let world = World::new();
    world.busybox("chroot");
    world.program(PROGRAM, "#!/bin/sh\nexit 3\n");
    let error = cleaned(&world).1.unwrap_err();
    assert_eq!(error.status(), 3);
    let text = error.to_string();
    assert!(text.contains("/chroot failed: ") && text.contains("ltsp-cleanup --yes"), "{text}");
    assert!(text.contains("status 3"), "{text}");
}

// U51
#[test]
fn a_program_that_cannot_run_here_is_explained() {
    let world = World::new();
    world.program(PROGRAM, "#!/bin/sh\n");
    let text = cleaned(&world).1.unwrap_err().to_string();
    assert!(text.contains("interpreter") && text.contains("have to run on this machine"), "{text}");
}

// The smallest chroot, without a shell: nothing in it has to run.
#[test]
fn a_chroot_without_the_program_is_cleaned_all_the_same() {
    let world = World::new();
    world.file("chroot/etc/hostname", "micro\n");
    world.file("chroot/usr/share/ltsp/ltsp-cleanup", "not executable");
    let (view, result) = cleaned(&world);
    result.unwrap();
    assert_eq!(changed(&world, &view), BTreeSet::from(["etc/fstab".into()]));
    let messages = world.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("WARN") && messages[0].contains("/chroot/usr/share/ltsp/ltsp-cleanup"));
}

// C11 to C24, D28, D29; what each step does in detail is tested beside it.
#[test]
fn our_cleanup_does_what_the_originals_scripts_do() {
    let world = World::new();
    world.busybox("chroot");
    for (path, text) in [
        ("boot/vmlinuz-6.1.0-1-amd64", "kernel"),
        ("boot/initrd.img-6.1.0-1-amd64", "initrd"),
        ("etc/cups/printers.conf", "<Printer a>\n"),
        ("etc/fstab", "/dev/sda1 / ext4\n"),
        ("etc/group", "root:x:0:\nuser:x:1000:\n"),
        ("etc/gshadow", "root:*::\nuser:!::\n"),
        ("etc/gshadow-", "user:!::\n"),
        ("etc/hostname", "server\n"),
        (
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\npolkitd:x:996:996::/:\nuser:x:1000:1000::/home/user:/bin/sh\n",
        ),
        ("etc/passwd-", "user:x:1000:1000::/home/user:/bin/sh\n"),
        ("etc/resolv.conf", "nameserver 127.0.0.1\n"),
        ("etc/shadow", "root:$6$root:1::::::\nuser:$6$user:1::::::\n"),
        ("etc/shadow-", "user:$6$user:1::::::\n"),
        ("etc/ssh/ssh_host_rsa_key", "private\n"),
        ("etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA\n"),
        ("etc/ssl/certs/ssl-cert-snakeoil.pem", "old"),
        ("etc/ssl/private/ssl-cert-snakeoil.key", "old"),
        ("etc/systemd/resolved.conf.d/ltsp.conf", "[Resolve]\n"),
        ("home/user/notes", "stays: the exclude list drops it\n"),
        ("var/cache/apt/archives/a.deb", "x"),
        ("var/cache/debconf/passwords.dat", "x"),
        ("var/log/syslog", "x"),
        ("var/log/syslog.1", "x"),
    ] {
        world.file(&format!("chroot/{path}"), text);
    }
    for program in ["usr/sbin/sshd", "usr/bin/ssh-keygen"] {
        world.program(&format!("chroot/{program}"), "");
    }
    world.program(
        "chroot/usr/sbin/make-ssl-cert",
        "#!/bin/sh\necho \"$*\" > /etc/ssl/private/ssl-cert-snakeoil.key\n",
    );
    world.program("chroot/usr/share/ltsp/update-kernels", "#!/bin/sh\ntouch /boot/updated\n");

    let (view, result) = cleaned(&world);
    result.unwrap();
    let expected = [
        "boot/initrd.img",
        "boot/updated",
        "boot/vmlinuz",
        "etc/cups/printers.conf",
        "etc/fstab",
        "etc/group",
        "etc/gshadow",
        "etc/gshadow-",
        "etc/passwd",
        "etc/passwd-",
        "etc/resolv.conf",
        "etc/shadow",
        "etc/shadow-",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssh/ssh_host_rsa_key.pub",
        "etc/ssh/ssh_known_hosts",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "etc/systemd/resolved.conf.d/ltsp.conf",
        "var/cache/apt/archives/a.deb",
        "var/cache/debconf/passwords.dat",
        "var/log/syslog",
        "var/log/syslog.1",
    ];
    assert_eq!(changed(&world, &view), expected.map(PathBuf::from).into());
    assert_eq!(read(&view, "etc/fstab").unwrap(), "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n");
    assert_eq!(read(&view, "etc/passwd").unwrap(), "root:x:0:0::/root:/bin/sh\n");
    assert_eq!(read(&view, "etc/shadow").unwrap(), "root:$6$root:1::::::\n");
    assert_eq!(read(&view, "etc/ssh/ssh_known_hosts").unwrap(), "server ssh-rsa AAAA\n");
    assert_eq!(
        read(&view, "etc/ssl/private/ssl-cert-snakeoil.key").unwrap(),
        "generate-default-snakeoil --force-overwrite\n"
    );
    assert_eq!(fs::read_link(view.root().join("boot/vmlinuz")).unwrap(), Path::new("vmlinuz-6.1.0-1-amd64"));
    let messages = world.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
}

// C14
#[test]
fn a_snakeoil_key_that_cannot_be_renewed_is_removed_and_told() {
    let world = World::new();
    world.busybox("chroot");
    world.file("chroot/etc/ssl/private/ssl-cert-snakeoil.key", "the server's");
    world.file("chroot/etc/ssl/certs/ssl-cert-snakeoil.pem", "the server's");
    world.program("chroot/usr/sbin/make-ssl-cert", "#!/bin/sh\necho no openssl >&2; exit 1\n");
    let (view, result) = cleaned(&world);
    result.unwrap();
    assert!(!view.root().join("etc/ssl/private/ssl-cert-snakeoil.key").exists());
    assert!(!view.root().join("etc/ssl/certs/ssl-cert-snakeoil.pem").exists());
    let messages = world.messages();
    assert!(messages[1].contains("snakeoil") && messages[1].contains("no openssl"), "{messages:?}");
}

// D18: in this chroot a directory is in the place of a key.
#[test]
fn all_steps_run_and_a_failure_in_keys_stops_the_build() {
    let world = World::new();
    for program in ["usr/sbin/sshd", "usr/bin/ssh-keygen"] {
        world.program(&format!("chroot/{program}"), "");
    }
    fs::create_dir_all(world.path.join("chroot/etc/ssh/ssh_known_hosts")).unwrap();
    let key = world.file("chroot/etc/ssh/ssh_host_rsa_key", "private");
    world.file("chroot/etc/group", "user:x:1000:\n");
    let chroot = world.path.join("chroot");
    let view = View::new(&chroot, &[]).unwrap();
    // Something mounted on a file keeps it from being removed.
    fs::write(view.root().join("busy"), "").unwrap();
    rustix::mount::mount_bind(view.root().join("busy"), view.root().join("etc/ssh/ssh_host_rsa_key"))
        .unwrap();
    let root = Root::open(view.root()).unwrap().known_as(&chroot);
    let error = clean(&root, &Changes::default()).unwrap_err();
    assert_eq!(error.status(), 1);
    let text = error.to_string();
    assert!(text.contains("clean up") && text.contains("failed: 51-sshd\n"), "{text}");
    assert_eq!(read(&view, "etc/group").unwrap(), ""); // the step after it
    let messages = world.messages();
    let known_hosts = messages.iter().find(|message| message.contains("50-ssh-keys")).unwrap();
    assert!(known_hosts.starts_with("WARN"), "{messages:?}");
    let sshd = messages.iter().find(|message| message.contains("51-sshd")).unwrap();
    let key = key.to_str().unwrap();
    assert!(sshd.starts_with("ERROR") && sshd.contains(key), "{messages:?}");
    rustix::mount::unmount(view.root().join("etc/ssh/ssh_host_rsa_key"), rustix::mount::UnmountFlags::DETACH)
        .unwrap();
}

// C6, C7
#[test]
fn the_admins_scripts_replace_steps_switch_them_off_and_add_others() {
    let world = World::new();
    world.busybox("chroot");
    let scripts = "chroot/etc/ltsp/cleanup.d";
    world.file(&format!("{scripts}/10-first"), "echo first >> /ran\nreturn 0\nfalse\n");
    world.file(&format!("{scripts}/50-fstab"), "");
    world.file("chroot/etc/other", "echo printers \"$SITE\" >> /ran\n");
    symlink("/etc/other", world.path.join(scripts).join("50-printers-conf")).unwrap();
    symlink("/etc/other", world.path.join(scripts).join("60-link")).unwrap();
    symlink("/dev/null", world.path.join(scripts).join("51-remove-users")).unwrap();
    world.file(&format!("{scripts}/local"), "echo no >> /ran\n");
    world.file("chroot/etc/passwd", "user:x:1000:1000::/:\n");
    world.file("chroot/etc/cups/printers.conf", "kept\n");
    let (view, result) = cleaned(&world);
    result.unwrap();
    assert_eq!(read(&view, "ran").unwrap(), "first\nprinters here\n");
    assert_eq!(changed(&world, &view), ["etc/passwd", "ran"].map(PathBuf::from).into());
}

// D18
#[test]
fn a_failing_script_of_the_admin_stops_the_build_after_the_last_step() {
    let world = World::new();
    world.busybox("chroot");
    world.file("chroot/etc/ltsp/cleanup.d/20-site", "exit 7\n");
    world.file("chroot/etc/ltsp/cleanup.d/90-last", "touch /last\n");
    let (view, result) = cleaned(&world);
    let error = result.unwrap_err();
    assert_eq!(error.status(), 1);
    assert!(error.to_string().contains("failed: 20-site\n"), "{error}");
    assert!(view.root().join("last").exists());
}

// A chroot is written by others: its links lead into itself, and what blocks or has effects is not opened.
#[test]
fn nothing_outside_of_the_view_is_reached() {
    let world = World::new();
    world.file("host/passwd", "user:x:1000:1000::/:\n");
    for name in ["group", "fstab", "printers.conf", "syslog", "passwords.dat", "known"] {
        world.file(&format!("host/{name}"), "user:x:1000:\n");
    }
    world.file("host/run/secret", "kept");
    let host = world.path.join("host");
    for (path, target) in [
        ("etc/passwd", host.join("passwd")),
        ("etc/group", "../../host/group".into()),
        ("etc/shadow-", host.join("passwd")),
        ("etc/fstab", host.join("fstab")),
        ("etc/cups/printers.conf", host.join("printers.conf")),
        ("etc/ssh/ssh_known_hosts", host.join("known")),
        ("var/log", host.clone()),
        ("var/cache/debconf/passwords.dat", host.join("passwords.dat")),
        ("boot", host.join("run")),
    ] {
        let link = world.path.join("chroot").join(path);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
    }
    let fifo = world.path.join("chroot/etc/shadow");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from(0o600)).unwrap();
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666)).unwrap();
    // That neither the chroot nor its neighbours are changed is checked by `cleaned`.
    let (view, result) = cleaned(&world);
    result.unwrap();
    assert!(fs::symlink_metadata(view.root().join("etc/shadow-")).is_err());
}
