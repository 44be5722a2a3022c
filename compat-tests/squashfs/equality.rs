//! A mounted image holds what its source holds, whatever is in there and however it was made.
#![allow(clippy::print_stdout)] // What the trees held is a result; cargo shows it when asked to.

use std::fs;

use ltsp_core::squashfs::{Compression, Fragments, WriteOptions};

use crate::census::Census;
use crate::forest::{grow, is_simple};
use crate::image::Workshop;
use crate::independent;
use crate::random::Random;
use crate::record::records;

/// How many trees a run checks, and with which one it begins; for longer runs than the usual one.
const TREES: (&str, u64) = ("SQUASHFS_TREES", 100);
const FIRST: (&str, u64) = ("SQUASHFS_FIRST_TREE", 0);

pub fn setting((name, default): (&str, u64)) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

/// Options that are as random as the tree; every third is as the defaults are.
fn options(seed: u64) -> WriteOptions {
    let mut random = Random::new(!seed);
    let created = Some(1_700_000_000);
    if seed % 3 == 0 {
        return WriteOptions { created, threads: 2, ..WriteOptions::default() };
    }
    let fast = Compression::Gzip { level: 1 };
    let compressions = [
        fast,
        Compression::default(),
        Compression::Gzip { level: 9 },
        Compression::Xz,
        Compression::Lz4 { high: false },
        Compression::Lz4 { high: true },
        Compression::Zstd { level: 3 },
        Compression::Zstd { level: 15 },
    ];
    let mut options = WriteOptions {
        compression: *random.one_of(&compressions),
        block_size: *random.one_of(&[4096, 8192, 65_536, 131_072, 1 << 20]),
        threads: random.number(1..5),
        memory: random.number(0..8) << 20,
        fragments: *random.one_of(&[Fragments::None, Fragments::Small, Fragments::Always]),
        remove_duplicates: !random.once_in(4),
        sparse: !random.once_in(4),
        exportable: !random.once_in(4),
        compress_inodes: !random.once_in(4),
        compress_ids: !random.once_in(4),
        compress_data: !random.once_in(4),
        compress_fragments: !random.once_in(4),
        compress_xattrs: !random.once_in(4),
        created,
        ..WriteOptions::default()
    };
    if random.once_in(10) {
        options.store_everything();
    }
    options
}

#[test]
fn a_mounted_image_equals_its_source() {
    let workshop = Workshop::new();
    let mut census = Census::default();
    let (first, count) = (setting(FIRST), setting(TREES));
    for seed in first..first + count {
        let options = options(seed);
        // Which tree it is, should something in there fail.
        println!("tree {seed}, {options:?}");
        fs::create_dir_all(workshop.source()).unwrap();
        grow(seed, &workshop.source());
        let source = records(&workshop.source());
        census.add(&workshop.source(), &source);
        workshop.write(&options);
        workshop.read_by_others();
        if is_simple(seed) {
            independent::compare(&workshop.image(), &source, options.remove_duplicates);
        }
        let (mounted, mount) = workshop.mount();
        let image = records(&mounted);
        drop(mount);
        for (path, record) in &source {
            assert_eq!(image.get(path), Some(record), "{path:?}");
        }
        assert_eq!(image.len(), source.len());
        fs::remove_dir_all(workshop.source()).unwrap();
    }
    println!("{census}");
    // Fewer are for looking into a failure.
    if count >= TREES.1 {
        assert_eq!(census.missing(), [""; 0]);
    }
}

#[test]
fn the_image_does_not_depend_on_the_number_of_threads() {
    let workshop = Workshop::new();
    for seed in 0..6 {
        fs::create_dir_all(workshop.source()).unwrap();
        grow(1_000_000 + seed, &workshop.source());
        let options = WriteOptions { memory: 1 << 20, ..options(seed) };
        let image = workshop.write(&WriteOptions { threads: 1, ..options.clone() });
        for threads in [2, 8, 8] {
            let again = workshop.write(&WriteOptions { threads, ..options.clone() });
            assert!(again == image, "tree {seed}, {threads} threads");
        }
        fs::remove_dir_all(workshop.source()).unwrap();
    }
}
