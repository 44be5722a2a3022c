//! The order of versions as GNU `sort -V` sees it (K54).

use std::cmp::Ordering;

/// Compares two texts as versions: numbers in them by value, `~` before everything, even the end.
///
/// File endings such as `.efi.signed` count only between texts that are equal without them, and names
/// with a leading dot come first. Texts that differ only in leading zeros are equal.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    dots(a).cmp(&dots(b)).then_with(|| {
        let without_endings = compare_whole(&a[..ending(a)], &b[..ending(b)]);
        without_endings.then_with(|| compare_whole(a, b))
    })
}

/// What goes before everything else: nothing, `.`, `..`, then other names with a leading dot.
fn dots(text: &[u8]) -> u8 {
    match text {
        b"" => 0,
        b"." => 1,
        b".." => 2,
        [b'.', ..] => 3,
        _ => 4,
    }
}

/// Where the longest run of file endings begins; it never takes the first byte.
fn ending(text: &[u8]) -> usize {
    (1..text.len()).find(|&start| is_ending(&text[start..])).unwrap_or(text.len())
}

/// `.tar.gz`: each part a dot, a letter or `~`, then letters, digits or `~`.
fn is_ending(text: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'~';
    let mut parts = text.split(|&byte| byte == b'.');
    parts.next() == Some(b"")
        && parts.all(|part| {
            part.first().is_some_and(letter) && part.iter().all(|byte| letter(byte) || byte.is_ascii_digit())
        })
}

/// Compares piece by piece: one without digits, then a number, and so on.
fn compare_whole(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        loop {
            let (x, y) = (a.first(), b.first());
            if [x, y].iter().all(|byte| byte.is_none_or(u8::is_ascii_digit)) {
                break; // both at a number or at the end
            }
            if x != y {
                return weight(x).cmp(&weight(y));
            }
            (a, b) = (&a[1..], &b[1..]);
        }
        let (x, y) = (number(&mut a), number(&mut b));
        let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// `~`, the end, a digit, letters, everything else: in this order, and by value among themselves.
fn weight(byte: Option<&u8>) -> (u8, u8) {
    match byte {
        Some(b'~') => (0, 0),
        None => (1, 0),
        Some(byte) if byte.is_ascii_digit() => (2, 0),
        Some(&byte) if byte.is_ascii_alphabetic() => (3, byte),
        Some(&byte) => (4, byte),
    }
}

/// Takes the digits off the front; without leading zeros, so that the longer number is the larger.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    // K54
    #[test]
    fn newer_kernels_come_later() {
        for (older, newer) in [
            ("4.19.0-9-", "4.19.0-10-"),
            ("4.19.0-5-", "4.19.0-10-"),
            ("3.10.0-957.el7.x86_64", "3.10.0-1062.el7.x86_64"),
            ("6.1.0~rc1-", "6.1.0-"),
            ("6.1-rc1", "6.1.1"),
        ] {
            assert_eq!(compare(older.as_bytes(), newer.as_bytes()), Ordering::Less, "{older} {newer}");
        }
    }

    /// Names from few characters, so that they often share beginnings; the same ones at every run.
    fn generated(count: usize) -> Vec<Vec<u8>> {
        let mut state: u64 = 1;
        let mut next = |below: usize| {
            // Knuth's MMIX constants; the upper bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 40).unwrap() % below
        };
        let alphabet = b"0019..--~~aBz+_ \xc3";
        let mut names: Vec<Vec<u8>> =
            (0..count).map(|_| (0..next(9)).map(|_| alphabet[next(alphabet.len())]).collect()).collect();
        // Whether such a name can be nothing but an ending differs between releases of coreutils.
        names.retain(|name| !name.starts_with(b"."));
        for version in ["5.4.0-42-generic", "5.4.0-042-generic", "5.4.0-42-generic.efi.signed", "10", "9"] {
            names.push(version.into());
        }
        names
    }

    #[test]
    fn the_order_is_that_of_sort() {
        let mut names = generated(5000);
        let text = names.iter().flat_map(|name| [name, &b"\n"[..]].concat()).collect::<Vec<u8>>();
        let mut sort = Command::new("sort")
            .arg("-V")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        sort.stdin.take().unwrap().write_all(&text).unwrap(); // sort reads all before it writes
        let sorted = sort.wait_with_output().unwrap();
        assert!(sorted.status.success());
        names.sort_by(|a, b| compare(a, b).then_with(|| a.cmp(b)));
        let theirs: Vec<&[u8]> = sorted.stdout.split(|&byte| byte == b'\n').collect();
        assert_eq!(theirs.len(), names.len() + 1);
        for (ours, theirs) in names.iter().zip(theirs) {
            assert_eq!(String::from_utf8_lossy(ours), String::from_utf8_lossy(theirs));
        }
    }
}
