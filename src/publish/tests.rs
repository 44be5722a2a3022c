use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};

use super::names::{Step, faults};

const LAST: NonZeroU32 = NonZeroU32::MIN;

fn folder() -> (tempfile::TempDir, ImageFolder) {
    let base = tempfile::tempdir().unwrap();
    let folder = ImageFolder::open(base.path()).unwrap();
    (base, folder)
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn published(image: &Image, content: &str, keep: u32) {
    let new = image.begin(keep).unwrap();
    write(&image.temporary, content);
    new.publish().unwrap();
}

fn names(folder: &ImageFolder) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

// U70
#[test]
fn the_previous_image_becomes_the_backup_and_replaces_an_older_one() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    for (content, current, backup) in
        [("one", "one", None), ("two", "two", Some("one")), ("three", "three", Some("two"))]
    {
        published(&image, content, 1);
        assert_eq!(read(&image.current).as_deref(), Some(current));
        assert_eq!(read(&image.backup).as_deref(), backup);
    }
    assert_eq!(names(&folder), ["amd64.img", "amd64.img.old"]);
}

// U71
#[test]
fn without_a_backup_an_existing_one_stays_as_it_is() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    write(&image.backup, "older");
    published(&image, "one", 0);
    published(&image, "two", 0);
    assert_eq!(read(&image.current).as_deref(), Some("two"));
    assert_eq!(read(&image.backup).as_deref(), Some("older"));
}

// U71
#[test]
fn of_a_linked_image_the_link_becomes_the_backup() {
    let (base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    let real = base.path().join("real");
    write(&real, "linked");
    symlink(&real, &image.current).unwrap();
    published(&image, "new", 1);
    assert_eq!(fs::read_link(&image.backup).unwrap(), real);
    assert!(!image.current.is_symlink());
    assert_eq!(read(&real).as_deref(), Some("linked"));
}

// U48
#[test]
fn an_image_that_is_given_up_leaves_nothing_and_changes_nothing() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    published(&image, "one", 1);
    write(&image.temporary, "stale");
    let new = image.begin(1).unwrap();
    assert_eq!(read(&image.temporary), None);
    write(&image.temporary, "half");
    drop(new);
    assert_eq!(names(&folder), ["amd64.img"]);
    assert_eq!(read(&image.current).as_deref(), Some("one"));
}

// D15
#[test]
fn a_published_image_can_be_read_by_everybody() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    let new = image.begin(1).unwrap();
    write(&image.temporary, "x");
    fs::set_permissions(&image.temporary, Permissions::from_mode(0o600)).unwrap();
    new.publish().unwrap();
    assert_eq!(fs::metadata(&image.current).unwrap().permissions().mode() & 0o7777, 0o644);
}

// U73
#[test]
fn revert_swaps_and_a_second_revert_swaps_back() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    assert!(image.revert(LAST).unwrap_err().to_string().contains("amd64.img.old"));
    write(&image.current, "new");
    assert!(image.revert(LAST).is_err());
    assert_eq!(read(&image.current).as_deref(), Some("new"));
    write(&image.backup, "old");
    image.revert(LAST).unwrap();
    assert_eq!(read(&image.current).as_deref(), Some("old"));
    assert_eq!(read(&image.backup).as_deref(), Some("new"));
    image.revert(LAST).unwrap();
    assert_eq!(read(&image.current).as_deref(), Some("new"));
    fs::remove_file(&image.current).unwrap();
    image.revert(LAST).unwrap();
    assert_eq!(names(&folder), ["amd64.img"]);
    assert_eq!(read(&image.current).as_deref(), Some("old"));
}

// D16
#[test]
fn the_image_can_be_read_at_every_moment_of_a_publication() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    published(&image, "0", 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut read_last = 0;
            while !stop.load(Ordering::SeqCst) {
                let number: u32 = read(&image.current).expect("an image").parse().expect("a complete image");
                assert!(number >= read_last);
                read_last = number;
            }
        });
        for number in 1..300 {
            published(&image, &number.to_string(), 1);
        }
        stop.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
}

// U4, O8
#[test]
fn the_last_generations_stay_as_files_and_move_from_name_to_name() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    let mut inodes = BTreeMap::new();
    for number in 1..=6 {
        published(&image, &number.to_string(), 3);
        inodes.insert(number.to_string(), fs::metadata(&image.current).unwrap().ino());
    }
    let expected = [("img", "6"), ("img.old", "5"), ("img.old.2", "4"), ("img.old.3", "3")];
    assert_eq!(names(&folder), expected.map(|(suffix, _)| format!("amd64.{suffix}")));
    for (suffix, content) in expected {
        let path = folder.path().join(format!("amd64.{suffix}"));
        assert_eq!(read(&path).as_deref(), Some(content));
        assert_eq!(fs::metadata(&path).unwrap().ino(), inodes[content], "{suffix}");
    }
    // O1
    assert_eq!(crate::source::listing::images(folder.path().parent().unwrap()).unwrap(), ["amd64"]);
}

// U71
#[test]
fn without_a_backup_no_generation_changes() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    (1..=4).for_each(|number| published(&image, &number.to_string(), 2));
    published(&image, "5", 0);
    assert_eq!(contents(&image), ["5", "3", "2"]);
    // One backup is what there has always been: older generations are not its business.
    published(&image, "6", 1);
    assert_eq!(contents(&image), ["6", "5", "2"]);
    // Whoever says how many are to stay wants no more of them.
    (7..=10).for_each(|number| published(&image, &number.to_string(), 4));
    published(&image, "11", 2);
    assert_eq!(contents(&image), ["11", "10", "9"]);
}

#[test]
fn generations_are_names_with_plain_numbers() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    for name in ["old", "old.2", "old.10", "old.02", "old.1", "old.+3", "old.x", "old.4.tmp", "oldest", "tmp"]
    {
        write(&folder.path().join(format!("amd64.img.{name}")), "x");
    }
    write(&folder.path().join("amd64.img.old.img"), "x");
    let numbers: Vec<u32> = image.generations().unwrap().into_iter().map(NonZeroU32::get).collect();
    assert_eq!(numbers, [1, 2, 10]);
}

#[test]
fn a_gap_between_generations_is_filled() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    (1..=5).for_each(|number| published(&image, &number.to_string(), 4));
    fs::remove_file(generation(&image, 2)).unwrap();
    published(&image, "6", 4);
    assert_eq!(contents(&image), ["6", "5", "4", "2", "1"]);
}

// I37
#[test]
fn a_directory_with_the_name_of_a_backup_is_an_error_and_nothing_changes() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    published(&image, "1", 3);
    published(&image, "2", 3);
    fs::create_dir(generation(&image, 2)).unwrap();
    let error = image.begin(3).unwrap_err().to_string();
    assert!(error.contains("amd64.img.old.2: there is a directory"), "{error}");
    assert_eq!((read(&image.current).as_deref(), read(&image.backup).as_deref()), (Some("2"), Some("1")));
    assert_eq!(names(&folder), ["amd64.img", "amd64.img.old", "amd64.img.old.2"]);
}

// I41
#[test]
fn revert_exchanges_the_image_with_any_generation() {
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    (1..=4).for_each(|number| published(&image, &number.to_string(), 3));
    let third = NonZeroU32::new(3).unwrap();
    image.revert(third).unwrap();
    assert_eq!(contents(&image), ["1", "3", "2", "4"]);
    image.revert(third).unwrap();
    assert_eq!(contents(&image), ["4", "3", "2", "1"]);
    let error = image.revert(NonZeroU32::new(4).unwrap()).unwrap_err().to_string();
    assert!(error.contains("amd64.img.old.4") && error.contains("amd64.img.old.3"), "{error}");
}

/// Looks at every state that a power failure during `work` can leave behind, each in a folder of its own.
fn after_power_failures(prepare: impl Fn(&Image), work: impl Fn(&Image), check: impl Fn(&Image, u32)) {
    for steps in 0.. {
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        prepare(&image);
        let finished = faults::with_power_for(steps, || work(&image));
        check(&image, steps);
        if finished {
            assert!(steps > 1, "the power never failed");
            return;
        }
    }
}

// U4, D16
#[test]
fn a_power_failure_after_any_step_loses_no_image_that_is_to_stay() {
    for (keep, before) in [(1, 1), (1, 3), (2, 2), (2, 5), (3, 2), (3, 4), (3, 6)] {
        let publish_all = |image: &Image| {
            (1..=before).for_each(|number| published(image, &number.to_string(), keep));
        };
        let publish_one_more = |image: &Image| {
            let Ok(new) = image.begin(keep) else { return };
            write(&image.temporary, &(before + 1).to_string());
            let _ = new.publish();
        };
        after_power_failures(publish_all, publish_one_more, |image, steps| {
            let state = format!("keep {keep}, {before} images, power for {steps} steps");
            let current: u32 = read(&image.current).expect(&state).parse().unwrap();
            assert!(current == before || current == before + 1, "{state}");
            // Newest first; of the images that are to stay when the new one is there, all are.
            let stay = keep + u32::from(current > before);
            let mut present = contents(image);
            present.dedup();
            assert!(present.starts_with(&newest(current, stay)), "{state}: {present:?}");

            // And the next run ends as if nothing had happened.
            published(image, &(current + 1).to_string(), keep);
            assert_eq!(contents(image), newest(current + 1, keep + 1), "{state}");
            assert!(!names_of(image).iter().any(|name| name.ends_with(".tmp")), "{state}");
        });
    }
}

// U73
#[test]
fn where_names_cannot_be_exchanged_a_power_failure_during_revert_loses_nothing_either() {
    let publish_all = |image: &Image| (1..=3).for_each(|number| published(image, &number.to_string(), 2));
    for generation in [1, 2] {
        let number = NonZeroU32::new(generation).unwrap();
        let revert = |image: &Image| {
            faults::without(&[Step::Exchange], || drop(image.revert(number)));
        };
        after_power_failures(publish_all, revert, |image, steps| {
            let state = format!("generation {generation}, power for {steps} steps");
            let current: u32 = read(&image.current).expect(&state).parse().unwrap();
            assert!(current == 3 || current == 3 - generation, "{state}");
            let other = if current == 3 { 3 - generation } else { 3 };
            image.check_revert(number).unwrap();
            image.revert(number).unwrap();
            assert_eq!(read(&image.current), Some(other.to_string()), "{state}");
            image.revert(number).unwrap();
            assert_eq!(read(&image.current), Some(current.to_string()), "{state}");
            assert_eq!(names_of(image).len(), 3, "{state}");
        });
    }
}

// U70
#[test]
fn file_systems_that_cannot_do_everything_keep_generations_all_the_same() {
    for unsupported in [&[Step::Link][..], &[Step::Exchange]] {
        let (_base, folder) = folder();
        let image = folder.image("amd64".as_ref());
        faults::without(unsupported, || {
            (1..=5).for_each(|number| published(&image, &number.to_string(), 3));
        });
        assert_eq!(contents(&image), newest(5, 4), "{unsupported:?}");
        assert_eq!(names(&folder).len(), 4);
    }
    let (_base, folder) = folder();
    let image = folder.image("amd64".as_ref());
    faults::without(&[Step::Link, Step::Exchange], || {
        published(&image, "1", 1);
        let new = image.begin(1).unwrap();
        write(&image.temporary, "2");
        let error = new.publish().unwrap_err().to_string();
        assert!(error.contains("neither link nor exchange"), "{error}");
        assert_eq!(read(&image.current).as_deref(), Some("1"));
        published(&image, "3", 0);
        assert_eq!(contents(&image), ["3"]);
    });
}

/// The contents of that many images, when `current` is the newest.
fn newest(current: u32, count: u32) -> Vec<String> {
    (1..=current).rev().take(usize::try_from(count).unwrap()).map(|number| number.to_string()).collect()
}

/// The image and its generations, as far as they are there.
fn contents(image: &Image) -> Vec<String> {
    let older = image.generations().unwrap().into_iter().map(|number| image.generation(number));
    [image.current.clone()].into_iter().chain(older).filter_map(|path| read(&path)).collect()
}

fn generation(image: &Image, number: u32) -> PathBuf {
    image.generation(NonZeroU32::new(number).unwrap())
}

fn names_of(image: &Image) -> Vec<String> {
    let entries = fs::read_dir(image.current.parent().unwrap()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

// What a dry run tells.
#[test]
fn what_becomes_of_older_images_is_told_as_it_then_is() {
    for present in ["", "0", "01", "013", "1", "0123"] {
        for keep in 0..4 {
            let (_base, folder) = folder();
            let image = folder.image("amd64".as_ref());
            let path = |number: char| match number {
                '0' => image.current.clone(),
                number => generation(&image, number.to_digit(10).unwrap()),
            };
            present.chars().for_each(|number| write(&path(number), &number.to_string()));
            let mut expected: BTreeMap<PathBuf, String> =
                present.chars().map(|number| (path(number), number.to_string())).collect();
            let before = names(&folder);
            let coming = image.succession(keep).unwrap();
            assert_eq!(names(&folder), before);
            for lost in &coming.lost {
                assert!(expected.remove(lost).is_some(), "{present} {keep}: {coming:?}");
            }
            for (from, to) in &coming.moves {
                let content = expected.remove(from).unwrap_or_else(|| panic!("{present} {keep}: {coming:?}"));
                assert_eq!(expected.insert(to.clone(), content), None, "{present} {keep}: {coming:?}");
            }
            expected.insert(image.current.clone(), "new".to_owned());
            published(&image, "new", keep);
            let found: BTreeMap<PathBuf, String> = names(&folder)
                .iter()
                .map(|name| folder.path().join(name))
                .map(|p| (p.clone(), read(&p).unwrap()))
                .collect();
            assert_eq!(found, expected, "{present} {keep}");
        }
    }
    let nowhere = Image::new(Path::new("/nowhere"), "x".as_ref());
    assert_eq!(nowhere.succession(3).unwrap(), Succession::default());
}
