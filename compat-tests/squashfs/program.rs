//! The built-in writer as the program that the front ends start.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use ltsp_core::cli::TOOL;
use ltsp_core::engine::WRITER;

use crate::image::Workshop;
use crate::random::Random;

fn writer(workshop: &Workshop, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ltsp-update-image"));
    command.env(TOOL, WRITER).env_remove("SOURCE_DATE_EPOCH");
    command.arg(workshop.source()).arg(workshop.image()).args(words);
    command
}

#[test]
fn a_list_of_files_says_what_each_is_and_what_it_shares() {
    let workshop = Workshop::new();
    let source = workshop.source();
    fs::create_dir_all(source.join("b/inner")).unwrap();
    fs::write(source.join("a"), "some text").unwrap();
    fs::write(source.join("b/copy"), "some text").unwrap();
    fs::write(source.join("b/inner/one"), "1").unwrap();
    fs::hard_link(source.join("a"), source.join("b/name")).unwrap();
    File::create(source.join("c")).unwrap();
    File::create(source.join("d")).unwrap();
    symlink("a", source.join("link\n")).unwrap();
    let kinds = [
        ("fifo", rustix::fs::FileType::Fifo, 0),
        ("null", rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("vda", rustix::fs::FileType::BlockDevice, rustix::fs::makedev(254, 0x1_2345)),
        ("wire", rustix::fs::FileType::Socket, 0),
    ];
    for (name, kind, device) in kinds {
        let path = source.join(name);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RUSR, device).unwrap();
    }
    let output = writer(&workshop, &["-info"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(),
        [
            "/a: file, 9 bytes",
            "/b: directory",
            "/c: file, 0 bytes",
            "/d: file, 0 bytes",
            "/fifo: fifo",
            "/link\\n: link to a",
            "/null: character device 1:3",
            "/vda: block device 254:74565",
            "/wire: socket",
            "/b/copy: file, 9 bytes, the same as /a",
            "/b/inner: directory",
            "/b/name: hard link to /a",
            "/b/inner/one: file, 1 byte",
        ]
    );
    let output = writer(&workshop, &["-quiet"]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn an_option_that_only_mksquashfs_has_is_named() {
    let workshop = Workshop::new();
    let output = writer(&workshop, &["-processors", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("`-processors`"), "{said}");
    assert!(!workshop.image().exists());
}

#[test]
fn memory_does_not_grow_with_the_source() {
    let workshop = Workshop::new();
    let mut random = Random::new(5);
    let noise = random.noise(8 << 20);
    for n in 0..40 {
        let mut content = noise.clone();
        content[0] = n;
        fs::write(workshop.source().join(format!("file {n}")), content).unwrap();
    }
    // Bytes that do not shrink take the most memory.
    let mut child = writer(&workshop, &["-processors", "2", "-mem", "16M", "-no-duplicates"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        // Gone between the two lines, at the end.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kibibytes.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    assert!(workshop.image().metadata().unwrap().len() > 300 << 20);
    assert!(most > 1 << 10 && most < 40 << 10, "{most} KiB");
}
