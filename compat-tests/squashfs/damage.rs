//! Damaged images are found by our own checks, which end with an error and not in any other way.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use ltsp_core::excludes::Excludes;
use ltsp_core::squashfs::reader::Image;
use ltsp_core::squashfs::verify::{compare, self_check};
use ltsp_core::squashfs::{Compression, WriteOptions};

use crate::forest::grow;
use crate::image::Workshop;
use crate::random::Random;

#[test]
fn damage_is_found_wherever_it_lies() {
    let workshop = Workshop::new();
    let mut random = Random::new(77);
    for (seed, compression) in [
        (2_000_001, Compression::default()),
        (2_000_002, Compression::Xz),
        (2_000_003, Compression::Zstd { level: 3 }),
        (2_000_004, Compression::Lz4 { high: false }),
    ] {
        fs::create_dir_all(workshop.source()).unwrap();
        grow(seed, &workshop.source());
        let options = WriteOptions { compression, created: Some(0), ..WriteOptions::default() };
        let bytes = workshop.write(&options);
        let path = workshop.image();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let (data_end, end) = {
            let image = Image::open(&file, &path).unwrap();
            (image.superblock().inode_table, image.superblock().bytes_used)
        };
        for n in 0..150 {
            // A third in the superblock, one in the tables, one in the data.
            let range = [0..96, data_end..end, 96.min(data_end - 1)..data_end][n % 3].clone();
            let at = random.within(range);
            let before = bytes[usize::try_from(at).unwrap()];
            let bit = 1 << random.number(0..8);
            file.write_all_at(&[before ^ bit], at).unwrap();
            let quick = self_check(&file, &path, 10);
            let thorough = compare(&file, &path, &workshop.source(), &options, &Excludes::default());
            // Of the data, lz4 alone can decompress to something else without noticing; that differs.
            // The fields that only inform, options and superblock, may go unnoticed.
            let informs = at < 110;
            assert!(
                informs || thorough.is_err() || quick.is_err() || at >= data_end,
                "seed {seed}, byte {at}"
            );
            file.write_all_at(&[before], at).unwrap();
        }
        self_check(&file, &path, 10).unwrap();
        file.set_len(end - 1).unwrap();
        assert!(self_check(&file, &path, 10).is_err(), "cut short");
        fs::remove_dir_all(workshop.source()).unwrap();
    }
}
