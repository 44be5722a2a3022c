//! A whole client boots from what `ltsp-update-image` has made of a chroot, or `ltsp image` of a virtual machine's
//! disk: kernel and ramdisk from the TFTP folder, its root from the real nbd-server, until the booted system itself
//! reports on the serial console.

// A test's log goes to its output.
#![allow(clippy::print_stdout)]

mod rigs;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rigs::nbd::Connection;
use rigs::world::{World, succeeds, texts};
use rigs::{chroot, wait_for};

/// What the booted system says last (see `rigs/netboot`).
const UP: &str = "netboot-report: the system is up";

/// An emulated machine takes about a quarter of a minute; a busy one may take its time.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Makes the disk of a virtual machine, $2, of the system in $1: with an EFI system partition first, as installers
/// make them.
const DISK: &str = r#"
set -eu
truncate -s 900M "$2.raw"
printf '%s\n' 'label: gpt' 'size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B' 'type=0FC63DAF-8483-4772-8E79-3D69D8477DE4' |
    sfdisk -q "$2.raw"
mkfs.ext4 -q -d "$1" -E offset=$((4096 * 512)) "$2.raw" 890M
qemu-img convert -O qcow2 "$2.raw" "$2"
rm "$2.raw"
"#;

// Must show 3 of the first capability.
#[test]
fn a_client_boots_from_the_image_with_the_stock_kernel_and_ramdisk() {
    let world = World::new();
    world.add_chroot("lab", &chroot::netboot());
    // Cleaned, as an image for many clients should be.
    world.run("ltsp-update-image --cleanup lab");
    wait_for("nbd-server", || world.on_server(|| Connection::open("127.0.0.1", "/opt/ltsp/lab").ok()));

    // The names that a boot menu uses, whatever the version: links to the newest kernel of a flavour (K50).
    let tftp = Path::new("/srv/tftp/ltsp/lab");
    let booted = boot(&world, "lab", &tftp.join("vmlinuz-cloud-amd64"), &tftp.join("initrd.img-cloud-amd64"));
    let kernel = fs::read_link(world.path(tftp.join("vmlinuz-cloud-amd64"))).expect("the flavour's link");
    assert_eq!(Some(&*booted.kernel), kernel.to_str().and_then(|name| name.strip_prefix("vmlinuz-")));
}

// Must show 6 of the third capability.
#[test]
fn a_client_boots_from_the_image_of_a_virtual_machines_disk() {
    let world = World::new();
    let chroot = chroot::netboot();
    fs::create_dir(world.path("/opt/ltsp/machines")).expect("a folder for the machine");
    succeeds(world.command("sh").args(["-c", DISK, "sh"]).arg(&chroot).arg("/opt/ltsp/machines/vm.qcow2"));
    // As an admin of the package ltsp does it, who made images by NFS before.
    world.run("ln -s machines/vm.qcow2 /opt/ltsp/vm.img");
    let ltsp = |applet: &[&str]| {
        let mut command = world.command(env!("CARGO_BIN_EXE_ltsp"));
        let done = succeeds(command.args(["-b", "/opt/ltsp", "-t", "/srv/tftp"]).args(applet));
        // Its access control list, which systemd sets, has no place in a squashfs.
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(
            errors.lines().all(|line| line.ends_with(" /var/log/journal")),
            "{applet:?}: {}",
            texts(&done)
        );
    };
    ltsp(&["image", "vm"]);
    ltsp(&["kernel", "images/vm"]);
    world.run("chmod 711 /opt/ltsp/images");
    ltsp(&["nbd"]);
    wait_for("nbd-server", || world.on_server(|| Connection::open("127.0.0.1", "/opt/ltsp/vm").ok()));

    let tftp = Path::new("/srv/tftp/ltsp/vm");
    let booted = boot(&world, "vm", &tftp.join("vmlinuz"), &tftp.join("initrd.img"));
    assert!(chroot.join("lib/modules").join(&booted.kernel).is_dir(), "kernel {}", booted.kernel);
}

/// What a booted client reports.
struct Booted {
    kernel: String,
}

/// Boots a machine without a disk, in the network of the world, until it has switched itself off, and returns
/// what it has reported, with its root on the network. The serial console is printed and kept.
fn boot(world: &World, name: &str, kernel: &Path, initrd: &Path) -> Booted {
    let log = format!("{}/netboot-{name}.log", env!("CARGO_TARGET_TMPDIR"));
    // The address under which such a machine finds its host; the server sees it as 127.0.0.1.
    let append =
        format!("ro root=/dev/nbd0 nbdroot=10.0.2.2:/opt/ltsp/{name} rootfstype=squashfs console=ttyS0");
    let mut qemu = world
        .command("qemu-system-x86_64")
        .args(["-accel", "tcg", "-m", "1024", "-display", "none", "-monitor", "none", "-no-reboot"])
        .args(["-nic", "user,model=virtio-net-pci", "-serial", "file:/run/console"])
        .args(["-append", &append])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .spawn()
        .expect("starting QEMU");
    let console = || {
        let text = plain(&fs::read(world.path("/run/console")).unwrap_or_default());
        fs::write(&log, &text).expect("keeping the console's log");
        text
    };
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = qemu.try_wait().expect("waiting for QEMU") {
            break status;
        }
        if Instant::now() > deadline {
            qemu.kill().expect("ending QEMU");
            panic!("the client did not come up; its console ends with:\n{}", end_of(&console()));
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let console = console();
    assert!(status.success(), "QEMU ended with {status}");
    assert!(console.contains(UP), "the client did not come up; its console ends with:\n{}", end_of(&console));
    println!("The serial console of the booted client, also in {log}:\n{console}");
    let report = |about: &str| {
        let start = format!("netboot-report: {about} ");
        let found = console.lines().find_map(|line| line.trim().strip_prefix(&start));
        found.unwrap_or_else(|| panic!("the client reports no {about}")).to_owned()
    };
    let (kernel, root) = (report("kernel"), report("root"));
    assert!(root.starts_with("/dev/nbd0 squashfs ro,"), "the root is {root}");
    println!("Booted: kernel {kernel}; root {root}");
    Booted { kernel }
}

/// A terminal's text without its control characters and colours (`ESC [ numbers letter`).
fn plain(console: &[u8]) -> String {
    let text = String::from_utf8_lossy(console);
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    let text = parts.fold(first, |text, part| {
        let end =
            part.find(|letter: char| letter.is_ascii_alphabetic()).map_or(part.len(), |letter| letter + 1);
        text + &part[end..]
    });
    text.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}

fn end_of(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
