//! What the options of mksquashfs ask for, as far as the built-in writer can do it.
//!
//! Scripts and configuration files speak to mksquashfs (mksquashfs(1)); they are understood here, so
//! that they need not know which program writes the image.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::{Compression, Fragments, WriteOptions};

/// What to write, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// How the image is to be.
    pub options: WriteOptions,
    /// Files of exclude patterns (`-ef`).
    pub exclude_files: Vec<PathBuf>,
    /// Exclude patterns (`-e`, which ends the options).
    pub excludes: Vec<OsString>,
    /// Show how far the work is (not `-no-progress`; with `-info` only if `-progress` asks for it).
    pub progress: bool,
    /// Print what is in the image, a line a file (`-info`).
    pub info: bool,
}

/// The least that mksquashfs takes for `-mem`. Less is usually a number without its unit.
const LEAST_MEMORY: u64 = 16 << 20;

/// The word that the built-in writer does not know, or whose value it cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub OsString);

/// Reads the words that follow source and image.
///
/// # Errors
/// [`Unknown`] for the first word that asks for something else than the built-in writer does;
/// mksquashfs may know it.
pub fn parse<W: AsRef<OsStr>>(words: &[W]) -> Result<Request, Unknown> {
    let mut request = Request {
        options: WriteOptions::default(),
        exclude_files: Vec::new(),
        excludes: Vec::new(),
        progress: true,
        info: false,
    };
    let (mut level, mut high, mut progress_too) = (None, false, false);
    let mut words = words.iter().map(AsRef::as_ref);
    while let Some(word) = words.next() {
        let unknown = || Unknown(word.to_owned());
        let name = word.to_str().ok_or_else(unknown)?;
        let mut value = || words.next().ok_or_else(unknown);
        let options = &mut request.options;
        match name {
            "-comp" => options.compression = compression(value()?).ok_or_else(unknown)?,
            "-b" => {
                options.block_size =
                    size(value()?).and_then(|size| u32::try_from(size).ok()).ok_or_else(unknown)?
            }
            "-Xcompression-level" => level = Some(number(value()?).ok_or_else(unknown)?),
            "-Xhc" => high = true,
            "-processors" => {
                options.threads = number(value()?).filter(|&count| count > 0).ok_or_else(unknown)?;
            }
            "-mem" => {
                let memory = size(value()?).filter(|&memory| memory >= LEAST_MEMORY).ok_or_else(unknown)?;
                // More than the default is of no use.
                options.memory = options.memory.min(usize::try_from(memory).unwrap_or(usize::MAX));
            }
            "-mkfs-time" | "-fstime" => options.created = Some(number(value()?).ok_or_else(unknown)?),
            "-force-uid" => options.owner = Some(number(value()?).ok_or_else(unknown)?),
            "-force-gid" => options.group = Some(number(value()?).ok_or_else(unknown)?),
            "-all-root" | "-root-owned" => (options.owner, options.group) = (Some(0), Some(0)),
            "-no-xattrs" => options.xattrs = false,
            "-xattrs" => options.xattrs = true,
            "-no-exports" => options.exportable = false,
            "-exports" => options.exportable = true,
            "-no-sparse" => options.sparse = false,
            "-no-duplicates" => options.remove_duplicates = false,
            "-no-fragments" => options.fragments = Fragments::None,
            "-always-use-fragments" | "-tailends" => options.fragments = Fragments::Always,
            "-no-tailends" => options.fragments = Fragments::Small,
            "-noI" | "-noInodeCompression" => {
                (options.compress_inodes, options.compress_ids) = (false, false)
            }
            "-noId" | "-noIdTableCompression" => options.compress_ids = false,
            "-noD" | "-noDataCompression" => options.compress_data = false,
            "-noF" | "-noFragmentCompression" => options.compress_fragments = false,
            "-noX" | "-noXattrCompression" => options.compress_xattrs = false,
            "-one-file-system" => options.one_file_system = true,
            "-nopad" => options.pad = false,
            "-no-progress" => request.progress = false,
            "-progress" => progress_too = true,
            "-info" => request.info = true,
            // What the built-in writer does anyway, or has no need of.
            "-noappend" | "-no-recovery" | "-wildcards" | "-reproducible" | "-quiet" | "-exit-on-error" => {}
            "-ef" => request.exclude_files.push(value()?.into()),
            "-e" => {
                request.excludes.push(value()?.to_owned());
                request.excludes.extend(words.by_ref().map(OsStr::to_owned));
            }
            _ => return Err(unknown()),
        }
    }
    if let Some(level) = level {
        let asked = request.options.compression.with_level(level);
        request.options.compression = asked.map_err(|_| Unknown("-Xcompression-level".into()))?;
    }
    match request.options.compression {
        Compression::Lz4 { .. } if high => request.options.compression = Compression::Lz4 { high },
        _ if high => return Err(Unknown("-Xhc".into())),
        _ => {}
    }
    if request.info {
        request.progress = progress_too;
    }
    request.options.check().map_err(|_| Unknown("-b".into()))?;
    Ok(request)
}

fn compression(name: &OsStr) -> Option<Compression> {
    Compression::named(name.to_str()?).ok()
}

fn number<N: std::str::FromStr>(text: &OsStr) -> Option<N> {
    text.to_str()?.parse().ok()
}

/// A number of bytes, or of as many as `K`, `M` or `G` behind it say.
fn size(text: &OsStr) -> Option<u64> {
    let text = text.to_str()?;
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_options_of_mksquashfs_are_understood() {
        let words = "-no-recovery -noappend -wildcards -ef /etc/list -comp xz -b 1M -noF -noD -noI -no-exports \
                     -no-xattrs -all-root -processors 3 -mem 16M -one-file-system -no-fragments -e -b home/*";
        let words: Vec<&str> = words.split_whitespace().collect();
        let request = parse(&words).unwrap();
        assert_eq!(request.exclude_files, [PathBuf::from("/etc/list")]);
        assert_eq!(request.excludes, ["-b", "home/*"]);
        let options = request.options;
        assert_eq!((options.compression, options.block_size), (Compression::Xz, 1 << 20));
        assert_eq!((options.owner, options.group, options.threads), (Some(0), Some(0), 3));
        assert_eq!((options.memory, options.fragments), (16 << 20, Fragments::None));
        assert!(!options.compress_data && !options.compress_fragments && !options.compress_inodes);
        assert!(options.compress_xattrs && !options.exportable && !options.xattrs && options.one_file_system);
    }

    #[test]
    fn a_level_belongs_to_the_compressor_wherever_it_is_named() {
        let level = |words: &[&str]| parse(words).map(|request| request.options.compression);
        assert_eq!(level(&["-Xcompression-level", "3", "-comp", "zstd"]), Ok(Compression::Zstd { level: 3 }));
        assert_eq!(level(&["-Xcompression-level", "9"]), Ok(Compression::Gzip { level: 9 }));
        assert_eq!(level(&["-comp", "lz4", "-Xhc"]), Ok(Compression::Lz4 { high: true }));
        assert_eq!(level(&["-Xhc", "-comp", "lz4"]), Ok(Compression::Lz4 { high: true }));
    }

    // As mksquashfs 4.5.1 does.
    #[test]
    fn a_list_of_files_takes_the_place_of_the_progress_unless_both_are_asked_for() {
        for (words, progress, info) in [
            ("", true, false),
            ("-quiet", true, false),
            ("-no-progress", false, false),
            ("-no-progress -progress", false, false),
            ("-info", false, true),
            ("-info -quiet", false, true),
            ("-info -progress", true, true),
            ("-progress -info", true, true),
        ] {
            let request = parse(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
            assert_eq!((request.progress, request.info), (progress, info), "{words}");
        }
    }

    #[test]
    fn memory_is_counted_in_bytes_unless_it_has_a_unit() {
        let memory = |word| parse(&["-mem", word]).map(|request| request.options.memory);
        let default = WriteOptions::default().memory;
        for (word, bytes) in [
            ("16M", 16 << 20),
            ("16m", 16 << 20),
            ("20000000", 20_000_000),
            ("20000K", 20_480_000),
            ("2G", default),
        ] {
            assert_eq!(memory(word), Ok(bytes), "{word}");
        }
    }

    #[test]
    fn what_only_mksquashfs_knows_is_named() {
        for (words, unknown) in [
            (&["-comp", "lzo"][..], "-comp"),
            (&["-comp"], "-comp"),
            (&["-noappend", "-sort", "list"], "-sort"),
            (&["-comp", "xz", "-Xdict-size", "50%"], "-Xdict-size"),
            (&["-comp", "xz", "-Xcompression-level", "3"], "-Xcompression-level"),
            (&["-Xhc"], "-Xhc"),
            (&["-b", "100"], "-b"),
            (&["-processors", "many"], "-processors"),
            (&["-processors", "0"], "-processors"),
            (&["-mem", "64"], "-mem"),
            (&["-mem", "15M"], "-mem"),
            (&["-mem", "10%"], "-mem"),
            (&["-info", "-e"], "-e"),
            (&["stray"], "stray"),
        ] {
            assert_eq!(parse(words).unwrap_err(), Unknown(unknown.into()), "{words:?}");
        }
    }
}
