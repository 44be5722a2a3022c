//! The patterns that sections are named by, as the shell's `case` matches them (F23, F32).

/// Whether a name can be looked up: it is not empty, nor is one of its alternatives.
pub(super) fn is_valid(pattern: &[u8]) -> bool {
    pattern.split(|&byte| byte == b'|').all(|alternative| !alternative.is_empty())
}

/// Whether a word fits one of the pattern's alternatives, which are separated by `|`. `*` and `?` match
/// any byte, also `/` and a dot at the start, which they do not in file names.
pub(super) fn matches(pattern: &[u8], word: &[u8]) -> bool {
    pattern.split(|&byte| byte == b'|').any(|alternative| matches_one(alternative, word))
}

fn matches_one(pattern: &[u8], word: &[u8]) -> bool {
    let (mut at, mut in_word) = (0, 0);
    // Behind the last star, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while in_word < word.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, in_word));
            }
            Some(&byte) if byte == b'?' || byte == word[in_word] => {
                at += 1;
                in_word += 1;
            }
            _ => match &mut star {
                Some((behind, reach)) => {
                    *reach += 1;
                    (at, in_word) = (*behind, *reach);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const PATTERNS: [&str; 16] = [
        "*",
        "?",
        "server",
        "image/",
        "image/*",
        "*/",
        "pc??",
        "*host",
        "b8:27:eb:*|dc:a6:32:*",
        "a*b*c",
        "**",
        "?*",
        "*.*.1",
        "*a*|x",
        ".*",
        "a|a*c|",
    ];
    const WORDS: [&str; 20] = [
        "",
        "server",
        "Server",
        "image/",
        "image/pc01",
        "pc01",
        "pc1",
        "localhost",
        "b8:27:eb:00:00:01",
        "dc:a6:32:1:2:3",
        "b8:27:ec:0",
        "abc",
        "aXbYc",
        "abcb",
        "ac",
        "a",
        "x",
        ".hidden",
        "10.0.0.1",
        "10.0.0.11",
    ];

    // F32: what the shell itself says.
    #[test]
    fn patterns_match_as_in_a_case_of_the_shell() {
        let mut script = String::new();
        for pattern in PATTERNS.iter().filter(|pattern| is_valid(pattern.as_bytes())) {
            for word in WORDS {
                script.push_str(&format!("case '{word}' in ({pattern}) echo 1;; (*) echo 0;; esac\n"));
            }
        }
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut said = said.lines();
        let mut fits = 0;
        for pattern in PATTERNS.iter().filter(|pattern| is_valid(pattern.as_bytes())) {
            for word in WORDS {
                let ours = matches(pattern.as_bytes(), word.as_bytes());
                assert_eq!(said.next(), Some(if ours { "1" } else { "0" }), "{word} in {pattern}");
                fits += usize::from(ours);
            }
        }
        assert!(said.next().is_none() && fits > 40, "{fits}");
    }
}
