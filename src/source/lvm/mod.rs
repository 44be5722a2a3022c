//! Logical volumes, found in LVM's metadata by us.
//!
//! LVM's tools are not asked: on the server a guest's volume group may have the name of the server's own,
//! and what they activate outlives a killed run. A volume that lies in one piece, as installers make
//! them, is a stretch of its disk like a partition.

mod text;

use crate::error::Result;
use crate::source::region::{Region, le32, le64};
use text::Section;

/// The unit of the metadata's numbers, in bytes.
const SECTOR: u64 = 512;

/// The header of the metadata area, in bytes; the text that follows it is a ring.
const AREA_HEADER: u64 = 512;

/// More than any group's text, in bytes.
const LONGEST_TEXT: u64 = 8 << 20;

/// One logical volume of which something lies on this physical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// The name of its volume group.
    pub group: String,
    /// Its own.
    pub name: String,
    /// Where it lies.
    pub place: Place,
}

/// Where a logical volume lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this physical volume, in pieces that follow each other in the volume: each with its start and
    /// its length, in bytes. At least one.
    Pieces(Vec<(u64, u64)>),
    /// In a way that is not read here; why.
    Elsewhere(String),
}

/// The logical volumes on this physical volume that an admin would see, in the order of the metadata;
/// none if the metadata cannot be understood.
///
/// # Errors
/// When it cannot be read.
pub fn volumes(disk: Region<'_>) -> Result<Option<Vec<LogicalVolume>>> {
    let Some(header) = header(disk)? else { return Ok(None) };
    let Some(text) = metadata(disk, &header)? else { return Ok(None) };
    Ok(text::parse(&text).and_then(|root| read_group(&root, &header.id)))
}

struct Header {
    /// The physical volume's identifier, without dashes.
    id: String,
    /// Metadata areas: start and size in bytes.
    areas: Vec<(u64, u64)>,
}

/// The label, which is in one of the first four sectors, with the header that it points to.
fn header(disk: Region<'_>) -> Result<Option<Header>> {
    for sector in 0..4 {
        let Some(bytes) = disk.read(sector * SECTOR, 512)? else { return Ok(None) };
        if !bytes.starts_with(b"LABELONE") || bytes[24..32] != *b"LVM2 001" {
            continue;
        }
        let at = usize::try_from(le32(&bytes, 20)).unwrap_or(usize::MAX);
        let Some(id) = at.checked_add(32).and_then(|end| bytes.get(at..end)) else { return Ok(None) };
        // Two lists of (offset, size), each ended by zeros: data areas, then metadata areas.
        let mut pairs = (at + 40..).step_by(16).map(|at| (le64(&bytes, at), le64(&bytes, at + 8)));
        for _ in pairs.by_ref().take(32).take_while(|pair| *pair != (0, 0)) {}
        let areas = pairs.take(32).take_while(|pair| *pair != (0, 0)).collect();
        return Ok(Some(Header { id: String::from_utf8_lossy(id).into_owned(), areas }));
    }
    Ok(None)
}

/// The text of the newest metadata.
fn metadata(disk: Region<'_>, header: &Header) -> Result<Option<Vec<u8>>> {
    for &(start, size) in &header.areas {
        let Some(area) = disk.part(start, size) else { continue };
        let Some(head) = area.read(0, 64)? else { continue };
        // After the checksum and the mark: version, start and size of the area itself, and the list of texts,
        // of which the first is the one in force.
        let (offset, length, flags) = (le64(&head, 40), le64(&head, 48), le32(&head, 60));
        let ignored = flags & 1 != 0;
        let fits = offset >= AREA_HEADER && offset < size && length > 0 && length < size.min(LONGEST_TEXT);
        if head[4..20] != *b" LVM2 x[5A%r0N*>" || ignored || !fits {
            continue;
        }
        let first = length.min(size - offset);
        let read = |at: u64, size: u64| area.read(at, usize::try_from(size).unwrap_or(usize::MAX));
        let (Some(mut text), Some(wrapped)) = (read(offset, first)?, read(AREA_HEADER, length - first)?)
        else {
            continue;
        };
        text.extend(wrapped);
        return Ok(Some(text));
    }
    Ok(None)
}

fn read_group(root: &Section, id: &str) -> Option<Vec<LogicalVolume>> {
    let (group, section) = root.sections().next()?;
    let extent = section.number("extent_size")?.checked_mul(SECTOR)?;
    let here = section.section("physical_volumes")?.sections().find(|(_, volume)| {
        volume.text("id").is_some_and(|found| found.bytes().filter(|byte| *byte != b'-').eq(id.bytes()))
    });
    let (here, physical) = here?;
    let first = physical.number("pe_start")?.checked_mul(SECTOR)?;
    let volumes = section.section("logical_volumes").into_iter().flat_map(Section::sections);
    Some(
        volumes
            .filter(|(_, volume)| volume.list("status").iter().any(|status| status == "VISIBLE"))
            .filter_map(|(name, volume)| {
                let place = place(volume, here, first, extent)?;
                Some(LogicalVolume { group: group.to_owned(), name: name.to_owned(), place })
            })
            .collect(),
    )
}

/// Where a volume lies; none if nothing of it lies here.
fn place(volume: &Section, here: &str, first: u64, extent: u64) -> Option<Place> {
    let mut pieces: Vec<(u64, u64, u64)> = Vec::new();
    let mut elsewhere = false;
    let mut other_kind = None;
    for (_, segment) in volume.sections() {
        let kind = segment.text("type").unwrap_or("unknown");
        let stripes = segment.list("stripes");
        match stripes {
            [physical, at] if kind == "striped" => {
                if physical != here {
                    elsewhere = true;
                    continue;
                }
                pieces.push((
                    segment.number("start_extent")?,
                    at.parse().ok()?,
                    segment.number("extent_count")?,
                ));
            }
            _ => {
                other_kind =
                    Some(if kind == "striped" { "striped over several disks" } else { kind }.to_owned())
            }
        }
    }
    if let Some(kind) = other_kind {
        return Some(Place::Elsewhere(format!("it is of the kind {kind}")));
    }
    if pieces.is_empty() {
        return None;
    }
    if elsewhere {
        return Some(Place::Elsewhere("a part of it lies on another physical volume".to_owned()));
    }
    pieces.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for &(_, at, count) in &pieces {
        let start = at.checked_mul(extent)?.checked_add(first)?;
        let size = count.checked_mul(extent)?;
        match joined.last_mut() {
            Some((last, length)) if last.checked_add(*length) == Some(start) => {
                *length = length.checked_add(size)?;
            }
            _ => joined.push((start, size)),
        }
    }
    Some(Place::Pieces(joined))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::region::tests::{damaged, file, region};
    use std::os::unix::fs::FileExt;

    const ID: &str = "zXl2lGcVfletuQjVjNVGRr0Dn2m3v2hJ";

    /// As vgcreate, lvcreate and lvextend of LVM 2.03.16 leave it.
    const TEXT: &str = r#"vg-a {
        id = "tqOg13-21Ah-qUJd-zsAa-xTcW-zICJ-ZMP34A"
        seqno = 6
        status = ["RESIZEABLE", "READ", "WRITE"]
        flags = []
        extent_size = 2048
        physical_volumes {
        pv0 {
        id = "zXl2lG-cVfl-etuQ-jVjN-VGRr-0Dn2-m3v2hJ"
        device = "/dev/loop0" # hint
        pe_start = 2048
        pe_count = 63
        }
        pv1 {
        id = "AAAAAA-cVfl-etuQ-jVjN-VGRr-0Dn2-m3v2hJ"
        pe_start = 2048
        pe_count = 63
        }
        }
        logical_volumes {
        root {
        status = ["READ", "WRITE", "VISIBLE"]
        segment_count = 2
        segment1 { start_extent = 0 extent_count = 20 type = "striped" stripe_count = 1 stripes = [ "pv0", 0 ] }
        segment2 { start_extent = 20 extent_count = 3 type = "striped" stripe_count = 1 stripes = [ "pv0", 20 ] }
        }
        var {
        status = ["READ", "WRITE", "VISIBLE"]
        segment1 { start_extent = 0 extent_count = 8 type = "striped" stripe_count = 1 stripes = [ "pv0", 25 ] }
        segment2 { start_extent = 8 extent_count = 1 type = "striped" stripe_count = 1 stripes = [ "pv0", 23 ] }
        }
        home {
        status = ["READ", "WRITE", "VISIBLE"]
        segment1 { start_extent = 0 extent_count = 8 type = "striped" stripe_count = 1 stripes = [ "pv1", 25 ] }
        }
        both {
        status = ["READ", "WRITE", "VISIBLE"]
        segment1 { start_extent = 0 extent_count = 8 type = "striped" stripe_count = 1 stripes = [ "pv1", 35 ] }
        segment2 { start_extent = 8 extent_count = 8 type = "striped" stripe_count = 1 stripes = [ "pv0", 35 ] }
        }
        pool_tmeta {
        status = ["READ", "WRITE"]
        segment1 { start_extent = 0 extent_count = 8 type = "striped" stripe_count = 1 stripes = [ "pv0", 45 ] }
        }
        thin {
        status = ["READ", "WRITE", "VISIBLE"]
        segment1 { start_extent = 0 extent_count = 8 type = "thin" thin_pool = "pool" }
        }
        }
        }
        # Generated by LVM2
        "#;

    /// A physical volume with this text at `offset` of its metadata area, which has 1 MiB - 4 KiB.
    pub fn physical_volume(mib: u64, text: &[u8], offset: u64) -> std::fs::File {
        let mut label = [0; 512];
        label[..9].copy_from_slice(b"LABELONE\x01");
        label[20] = 32;
        label[24..32].copy_from_slice(b"LVM2 001");
        label[32..64].copy_from_slice(ID.as_bytes());
        let numbers: [(usize, u64); 5] =
            [(64, mib << 20), (72, 1 << 20), (104, 4096), (112, (1 << 20) - 4096), (120, 0)];
        for (at, number) in numbers {
            label[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        let mut area = [0; 512];
        area[4..20].copy_from_slice(b" LVM2 x[5A%r0N*>");
        let length = u64::try_from(text.len()).unwrap();
        for (at, number) in [(24, 4096), (32, (1 << 20) - 4096), (40, offset), (48, length)] {
            area[at..at + 8].copy_from_slice(&u64::to_le_bytes(number));
        }
        let disk = file(mib << 20, &[(512, &label), (4096, &area)]);
        let first = text.len().min(usize::try_from((1 << 20) - 4096 - offset).unwrap());
        disk.write_all_at(&text[..first], 4096 + offset).unwrap();
        disk.write_all_at(&text[first..], 4096 + 512).unwrap();
        disk
    }

    fn found(disk: &std::fs::File) -> Option<Vec<LogicalVolume>> {
        volumes(region(disk)).unwrap()
    }

    #[test]
    fn volumes_on_this_disk_are_found_and_the_others_explained() {
        let disk = physical_volume(64, TEXT.as_bytes(), 512);
        let found = found(&disk).unwrap();
        let names: Vec<&str> = found.iter().map(|volume| &*volume.name).collect();
        assert_eq!(names, ["root", "var", "both", "thin"]);
        assert_eq!(found[0].group, "vg-a");
        assert_eq!(found[0].place, Place::Pieces(vec![(1 << 20, 23 << 20)]));
        assert_eq!(found[1].place, Place::Pieces(vec![(26 << 20, 8 << 20), (24 << 20, 1 << 20)]));
        for (volume, reason) in found[2..].iter().zip(["on another physical volume", "of the kind thin"]) {
            assert!(matches!(&volume.place, Place::Elsewhere(why) if why.contains(reason)), "{volume:?}");
        }
    }

    #[test]
    fn text_that_wraps_around_in_its_ring_is_read() {
        let disk = physical_volume(64, TEXT.as_bytes(), (1 << 20) - 4096 - 700);
        assert_eq!(found(&disk).unwrap().len(), 4);
    }

    #[test]
    fn metadata_that_make_no_sense_are_none() {
        assert_eq!(found(&file(1 << 20, &[])), None);
        for text in ["", "vg {", "vg { extent_size = 99999999999999999999 }", "vg = 3\n", "}", "vg { a = [ }"]
        {
            assert_eq!(found(&physical_volume(64, text.as_bytes(), 512)), None, "{text}");
        }
        let huge = TEXT.replace("extent_size = 2048", "extent_size = 18446744073709551615");
        assert_eq!(found(&physical_volume(64, huge.as_bytes(), 512)), None);
        let far = TEXT.replace("\"pv0\", 20 ]", "\"pv0\", 18446744073709551615 ]");
        let found_far = found(&physical_volume(64, far.as_bytes(), 512)).unwrap();
        assert!(found_far.iter().all(|volume| volume.name != "root"));
        let disk = physical_volume(64, TEXT.as_bytes(), 512);
        disk.write_all_at(&u64::MAX.to_le_bytes(), 4096 + 40).unwrap();
        assert_eq!(found(&disk), None);
    }

    #[test]
    fn damaged_metadata_do_no_harm() {
        damaged(&physical_volume(8, TEXT.as_bytes(), 512), 500, 1 << 20, |region| {
            let _ = volumes(region).unwrap();
        });
    }
}
