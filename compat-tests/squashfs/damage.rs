//! Damaged images are found by our own checks, which end with an error and not in any other way.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ltsp_core::excludes::Excludes;
use ltsp_core::squashfs::reader::Image;
use ltsp_core::squashfs::verify::{compare, self_check};
use ltsp_core::squashfs::{Compression, WriteOptions};
use rustix::fs::{XattrFlags, lsetxattr};

use crate::equality::setting;
use crate::forest::grow;
use crate::image::Workshop;
use crate::random::Random;

/// How many times as many bits as usual; for longer runs.
const TIMES: (&str, u64) = ("SQUASHFS_DAMAGE_TIMES", 1);

/// What no reader depends on: of the superblock when the image was made, and its flags.
const INFORMS: [Range<u64>; 2] = [8..12, 24..26];

/// The parts of an image, by the names of the format.
fn parts(file: &File, path: &Path) -> Vec<(&'static str, Range<u64>)> {
    let superblock = Image::open(file, path).unwrap().superblock().clone();
    let first_block = |list: u64| {
        let mut position = [0; 8];
        file.read_exact_at(&mut position, list).unwrap();
        u64::from_le_bytes(position)
    };
    let head = superblock.xattr_table;
    let starts = [
        ("superblock", 0),
        // Behind the options of the compressor.
        ("data", 110),
        ("inode table", superblock.inode_table),
        ("directory table", superblock.directory_table),
        ("fragment table", first_block(superblock.fragment_table)),
        ("list of the fragment table", superblock.fragment_table),
        ("export table", first_block(superblock.export_table)),
        ("list of the export table", superblock.export_table),
        ("id table", first_block(superblock.id_table)),
        ("list of the id table", superblock.id_table),
        ("extended attributes", first_block(head)),
        ("xattr table", first_block(head + 16)),
        ("head and list of the xattr table", head),
        ("end", superblock.bytes_used),
    ];
    starts.windows(2).map(|pair| (pair[0].0, pair[0].1..pair[1].1)).collect()
}

/// Whether our checks find that one bit of the image is wrong, which it is only for them.
fn is_found(workshop: &Workshop, file: &File, options: &WriteOptions, at: u64, bit: u8) -> bool {
    let path = workshop.image();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ bit], at).unwrap();
    let quick = self_check(file, &path, 10);
    // Always, as it must not be led astray either.
    let thorough = compare(file, &path, &workshop.source(), options, &Excludes::default());
    file.write_all_at(&byte, at).unwrap();
    quick.is_err() || thorough.is_err()
}

#[test]
fn a_wrong_bit_is_found_wherever_it_lies() {
    let workshop = Workshop::new();
    let mut random = Random::new(77);
    for (seed, compression, bits) in [
        // Not compressed, so that every bit of the tables means something.
        (3, None, 40),
        (11, Some(Compression::default()), 10),
        (19, Some(Compression::Xz), 10),
        (23, Some(Compression::Zstd { level: 3 }), 5),
        (27, Some(Compression::Lz4 { high: false }), 5),
    ] {
        fs::create_dir_all(workshop.source()).unwrap();
        grow(seed, &workshop.source());
        // A directory with an index, files with blocks and tails, and attributes, one of them shared.
        let folder = workshop.source().join("indexed");
        fs::create_dir(&folder).unwrap();
        for n in 0..400 {
            File::create(folder.join(format!("{n} {}", "long name".repeat(5)))).unwrap();
        }
        fs::write(workshop.source().join("noise"), random.noise(300_000)).unwrap();
        fs::write(workshop.source().join("tail"), "x").unwrap();
        for name in ["noise", "tail"] {
            let value = [b"a value of some length", name.as_bytes()];
            let path = workshop.source().join(name);
            for (name, value) in [("user.shared", value[0]), ("user.own", value[1])] {
                lsetxattr(&path, name, value, XattrFlags::empty()).unwrap();
            }
        }
        let mut options = WriteOptions {
            compression: compression.unwrap_or_default(),
            created: Some(0),
            ..WriteOptions::default()
        };
        if compression.is_none() {
            options.store_everything();
        }
        // Where blocks have none, what is wrong in one may still mean the same.
        let has_checksums = !matches!(compression, Some(Compression::Zstd { .. } | Compression::Lz4 { .. }));
        workshop.write(&options);
        let path = workshop.image();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        for (part, range) in parts(&file, &path) {
            assert!(!range.is_empty(), "{part}");
            for _ in 0..bits * setting(TIMES) {
                let at = random.within(range.clone());
                let bit = 1 << random.number(0..8);
                if INFORMS.iter().any(|informs| informs.contains(&at)) {
                    continue;
                }
                let found = is_found(&workshop, &file, &options, at, bit);
                assert!(found || !has_checksums, "tree {seed}, {part}, byte {at}, bit {bit}");
            }
        }
        self_check(&file, &path, 10).unwrap();
        let end = Image::open(&file, &path).unwrap().superblock().bytes_used;
        file.set_len(end - 1).unwrap();
        assert!(self_check(&file, &path, 10).is_err(), "cut short");
        fs::remove_dir_all(workshop.source()).unwrap();
    }
}
