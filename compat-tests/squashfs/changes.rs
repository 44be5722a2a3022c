//! A source that changes while the image is made: the image stays a valid file system, and what
//! changed is reported by path.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::Mutex;

use ltsp_core::error::Result;
use ltsp_core::excludes::Excludes;
use ltsp_core::squashfs::{self, Summary, WriteOptions};

use crate::image::{Workshop, without_access_to_all};

/// The warnings of all tests in this program; each test has names of its own.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        WARNINGS.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// Writes an image while `change` happens to the source after the walk and before the content of most
/// files is read: when the first megabyte of a file that precedes them all has been read. It has 64,
/// far more than may be read ahead with this little memory.
fn write_during(workshop: &Workshop, change: impl Fn(&Path)) {
    try_during(workshop, change).unwrap();
    let path = workshop.image();
    let file = File::open(&path).unwrap();
    squashfs::verify::self_check(&file, &path, usize::MAX).unwrap();
    workshop.read_by_others();
}

fn try_during(workshop: &Workshop, change: impl Fn(&Path)) -> Result<Summary> {
    // Another test may have done so already.
    let _ = log::set_logger(&Collector);
    log::set_max_level(log::LevelFilter::Warn);
    let source = workshop.source();
    File::create(source.join("!")).unwrap().set_len(64 << 20).unwrap();
    let mut is_changed = false;
    let mut report = |_| {
        if !std::mem::replace(&mut is_changed, true) {
            change(&source);
        }
        Ok(())
    };
    let path = workshop.image();
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
    let options = WriteOptions { memory: 0, ..WriteOptions::default() };
    let result = squashfs::write(&source, &file, &path, &options, &Excludes::default(), &mut report);
    assert!(is_changed);
    result
}

fn was_reported(name: &str, what: &str) -> bool {
    WARNINGS.lock().unwrap().iter().any(|text| text.contains(name) && text.contains(what))
}

#[test]
fn files_that_vanish_or_are_replaced_are_left_out() {
    let workshop = Workshop::new();
    let source = workshop.source();
    for name in ["gone", "linked", "fifo", "other", "stays"] {
        fs::write(source.join(format!("v-{name}")), name).unwrap();
    }
    fs::write(source.join("v-large"), vec![b'x'; 3 << 20]).unwrap();
    fs::create_dir(source.join("v-folder")).unwrap();
    fs::write(source.join("v-folder/inside"), "x").unwrap();
    write_during(&workshop, |source| {
        for name in ["gone", "linked", "fifo", "large"] {
            fs::remove_file(source.join(format!("v-{name}"))).unwrap();
        }
        symlink("/etc/shadow", source.join("v-linked")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            source.join("v-fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        // The new inode exists beside the old one, so it has another number.
        fs::write(source.join("new"), "other content").unwrap();
        fs::rename(source.join("new"), source.join("v-other")).unwrap();
        fs::remove_dir_all(source.join("v-folder")).unwrap();
    });
    let (mounted, _mount) = workshop.mount();
    for name in ["gone", "linked", "fifo", "other", "large"] {
        let path = mounted.join(format!("v-{name}"));
        assert!(path.symlink_metadata().is_err(), "{name}");
        assert!(was_reported(&format!("v-{name}"), "vanished"), "{name}");
    }
    assert!(was_reported("v-folder/inside", "vanished"));
    assert_eq!(fs::read_dir(mounted.join("v-folder")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(mounted.join("v-stays")).unwrap(), "stays");
    assert!(!was_reported("v-stays", ""));
}

#[test]
fn files_that_shrink_or_grow_keep_what_was_read() {
    let workshop = Workshop::new();
    let source = workshop.source();
    // Name, size before, size after, size in the image.
    let cases = [
        ("c-small", 1000, 10, 10),
        ("c-to-nothing", 1000, 0, 0),
        ("c-log", 1000, 3000, 1000),
        ("c-block", 200_000, 131_072, 131_072),
        ("c-large", 5 << 20, (2 << 20) + 7, (2 << 20) + 7),
        ("c-large-to-small", 5 << 20, 100, 100),
        ("c-large-log", 5 << 20, 7 << 20, 5 << 20),
    ];
    let content = |size: u64| -> Vec<u8> { (0..size).map(|n| (n / 7).to_le_bytes()[0]).collect() };
    for (name, before, ..) in cases {
        fs::write(source.join(name), content(before)).unwrap();
    }
    write_during(&workshop, |source| {
        for (name, _, after, _) in cases {
            let file = File::options().write(true).open(source.join(name)).unwrap();
            file.set_len(after).unwrap();
        }
    });
    let (mounted, _mount) = workshop.mount();
    for (name, .., size) in cases {
        assert!(fs::read(mounted.join(name)).unwrap() == content(size), "{name}");
        assert!(was_reported(name, "changed"), "{name}");
    }
}

#[test]
fn a_file_that_becomes_unreadable_is_an_error_that_names_it() {
    let workshop = Workshop::new();
    fs::write(workshop.source().join("u-secret"), "x").unwrap();
    let result = without_access_to_all(|| {
        try_during(&workshop, |source| {
            let path = source.join("u-secret");
            rustix::fs::chmod(&path, rustix::fs::Mode::empty()).unwrap();
            std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
        })
    });
    let message = result.unwrap_err().to_string();
    assert!(message.contains("u-secret: Permission denied"), "{message}");
}

#[test]
fn a_file_that_gets_other_attributes_keeps_those_that_it_had() {
    let workshop = Workshop::new();
    fs::write(workshop.source().join("a-file"), "x").unwrap();
    write_during(&workshop, |source| {
        rustix::fs::chmod(source.join("a-file"), rustix::fs::Mode::RUSR).unwrap();
    });
    let (mounted, _mount) = workshop.mount();
    assert_eq!(mounted.join("a-file").metadata().unwrap().mode() & 0o777, 0o644);
    assert!(was_reported("a-file", "changed"));
}
