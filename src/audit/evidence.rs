//! What shows, in the content of a file, that there is a secret in it.

use super::pattern::find;

mod der;
mod tokens;

use der::{is_der_key, sequence};
use tokens::{has_cloud_key, has_token};

/// What a rule asks of a content, which is never empty.
#[derive(Debug, Clone, Copy)]
pub(super) enum Evidence {
    /// Nothing more.
    Anything,
    /// One of these at the beginning.
    Begins(&'static [&'static [u8]]),
    /// One of these anywhere.
    Contains(&'static [&'static str]),
    /// A value for one of these settings; see [`setting`].
    Setting(&'static [&'static str]),
    /// As [`Setting`](Self::Setting), but in programs, where names of settings are also used: there has to be a
    /// sign before the value, and no dollar before the name.
    Assignment(&'static [&'static str]),
    /// A line that is no comment.
    Line,
    /// A text that is armoured, as in RFC 7468; the line that begins it ends so.
    Armour(&'static [&'static str]),
    /// A private key in DER: see [`is_der_key`].
    DerKey,
    /// A store of PKCS #12 (RFC 7292, 4).
    DerStore,
    /// The second field of a line is the hash of a password.
    HashField,
    /// A modern password hash anywhere: long enough to be nothing else.
    Hash,
    /// `//user:password@`.
    Url,
    /// A user's name and a password, each set by a line of its own, as in the files of mount.cifs(8).
    Login,
    /// The key of an account at Amazon's, Azure's or a similar cloud.
    CloudKey,
    /// A token that a web service has given a prefix of its own.
    Token,
    /// A secret of pppd, in the third field (pppd(8), AUTHENTICATION).
    PppSecret,
    /// 32 hexadecimal digits and nothing else (machine-id(5)).
    HexId,
}

impl Evidence {
    pub(super) fn is_in(self, content: &[u8]) -> bool {
        match self {
            Self::Anything => true,
            Self::Begins(magics) => magics.iter().any(|magic| content.starts_with(magic)),
            Self::Contains(texts) => texts.iter().any(|text| find(content, text.as_bytes()).is_some()),
            Self::Setting(names) => lines(content).any(|line| names.iter().any(|name| setting(line, name))),
            Self::Assignment(names) => {
                lines(content).any(|line| names.iter().any(|name| assignment(line, name)))
            }
            Self::Line => lines(content).next().is_some(),
            Self::Armour(ends) => is_armoured(content, ends),
            Self::DerKey => is_der_key(content),
            Self::DerStore => sequence(content).is_some_and(|inner| inner.starts_with(&[2, 1, 3, 0x30])),
            Self::HashField => lines(content).any(|line| field(line, b':', 1).is_some_and(is_hash)),
            Self::Hash => {
                places(content, b"$").any(|at| is_long_hash(&content[at..]) || is_scram(content, at))
            }
            Self::Url => lines(content).any(has_password_in_url),
            Self::Login => [&USER_NAMES[..], &PASSWORDS]
                .iter()
                .all(|names| lines(content).any(|line| names.iter().any(|name| begins_setting(line, name)))),
            Self::CloudKey => has_cloud_key(content),
            Self::Token => has_token(content),
            Self::PppSecret => lines(content).any(|line| {
                let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                words.nth(2).is_some_and(|secret| !matches!(secret, b"\"\"" | b"\"*\"" | b"*" | b"-"))
            }),
            Self::HexId => {
                let id = content.trim_ascii();
                id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit)
            }
        }
    }
}

const USER_NAMES: [&str; 3] = ["username", "user", "login"];
const PASSWORDS: [&str; 3] = ["password", "passwd", "pass"];

/// Whether a line begins with a setting that has a value.
fn begins_setting(line: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    line.split_at_checked(name.len())
        .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(name) && gives_value(rest))
}

/// As [`has_value`], but there has to be a sign between the name and its value.
fn gives_value(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), Some(b'=' | b':')) && has_value(rest)
}

/// The lines that are neither empty nor comments, without blanks around them.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = content.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    // Two slashes begin a comment only before a blank: in others an address or a share's name follows.
    let is_comment = |line: &[u8]| {
        matches!(line.first(), Some(b'#' | b';')) || line.starts_with(b"// ") || line.starts_with(b"/*")
    };
    lines.filter(move |line| !line.is_empty() && !is_comment(line))
}

/// Whether a line gives a setting a value: `name = value`, `name: value`, `name value`, with or without
/// quotes, alone in the line or not, in any case of letters. A `*` at an end of the name stands for more of
/// it. What only stands in for a value (`<password>`, `$PASSWORD`) is none.
fn setting(line: &[u8], name: &str) -> bool {
    values(line, name).any(|(_, rest)| has_value(rest))
}

/// Whether a line of a program gives a setting a value.
fn assignment(line: &[u8], name: &str) -> bool {
    values(line, name).any(|(before, rest)| {
        let start = before.iter().rposition(|&byte| !is_word(byte));
        !start.is_some_and(|at| matches!(before[at], b'$' | b'{')) && gives_value(rest)
    })
}

/// What stands before and after a name, wherever it is in a line.
fn values<'a>(line: &'a [u8], name: &'a str) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let (any_start, any_end) = (name.starts_with('*'), name.ends_with('*'));
    let name = name.trim_matches('*').as_bytes();
    let ends = line.len().checked_sub(name.len()).map_or(0..0, |last| 0..last + 1);
    ends.filter_map(move |at| {
        let rest = &line[at + name.len()..];
        let rest = if any_end { without_start(rest, is_word) } else { rest };
        let begins = any_start || at == 0 || !is_word(line[at - 1]);
        let is_it = begins && line[at..at + name.len()].eq_ignore_ascii_case(name);
        is_it.then_some((&line[..at], rest))
    })
}

/// Whether what follows a name gives it a value.
fn has_value(rest: &[u8]) -> bool {
    let unquoted = rest.strip_prefix(b"\"").or(rest.strip_prefix(b"'")).unwrap_or(rest);
    // PHP: $config['password'] = 'x'
    let unquoted = unquoted.strip_prefix(b"]").unwrap_or(unquoted);
    let after = unquoted.trim_ascii_start();
    let value = match after.first() {
        Some(b'=' | b':') => without_start(&after[1..], |byte| b"=> \t".contains(&byte)),
        Some(_) if after.len() < unquoted.len() => after,
        _ => return false,
    };
    let value = without_start(value, |byte| b"\"'".contains(&byte));
    let stands_in = [&b"<"[..], b"${", b"$(", b"%(", b"{", b"[", b"null", b"none", b"#", b",", b";"];
    !value.is_empty() && !stands_in.iter().any(|start| value.starts_with(start)) && !is_variable(value)
}

/// `$PASSWORD` in a shell, `$password` and `$_POST` in PHP; but not `$6$`, which begins a hash, and not any
/// password that begins with a dollar.
fn is_variable(value: &[u8]) -> bool {
    let Some(rest) = value.strip_prefix(b"$") else { return false };
    let name = &rest[..rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len())];
    let is_constant = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let speaks = [&b"pass"[..], b"pw", b"secret", b"token", b"key"];
    let speaks =
        speaks.iter().any(|word| name.to_ascii_lowercase().windows(word.len()).any(|part| part == *word));
    match (name.first(), rest.get(name.len())) {
        (None, next) => next.is_some_and(|next| b"@*#?".contains(next)),
        (Some(_), Some(b'$')) => false,
        (Some(first), _) => *first == b'_' || name.iter().all(is_constant) || speaks,
    }
}

fn without_start(text: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    let start = text.iter().position(|&byte| !unwanted(byte)).unwrap_or(text.len());
    &text[start..]
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Whether there is such an armour, and it is not a text in a program or manual: it begins a line (or a
/// value, as in JSON), and a new line follows.
fn is_armoured(content: &[u8], ends: &[&str]) -> bool {
    places(content, b"BEGIN ").any(|at| {
        let before = &content[..at];
        // "-----BEGIN", and "---- BEGIN" in the format of SSH Communications Security.
        let Some(before) = before.strip_suffix(b"-----").or(before.strip_suffix(b"---- ")) else {
            return false;
        };
        let begins = matches!(before.last(), None | Some(b'\n' | b' ' | b'\t' | b'"' | b'\''));
        let end = content[at..].iter().position(|&byte| matches!(byte, b'\n' | b'\r' | b'\\'));
        let line = end.map_or(&b""[..], |end| content[at..at + end].trim_ascii_end());
        begins && ends.iter().any(|end| line.ends_with(end.as_bytes()))
    })
}

/// The places of a text.
fn places<'a>(content: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + find(content.get(from..)?, wanted)?;
        from = at + 1;
        Some(at)
    })
}

fn field(line: &[u8], separator: u8, number: usize) -> Option<&[u8]> {
    line.split(|&byte| byte == separator).nth(number)
}

/// The formats of crypt(5) that are no plain letters.
const HASHES: [&str; 17] = [
    "$1$", "$2$", "$2a$", "$2b$", "$2x$", "$2y$", "$3$", "$5$", "$6$", "$7$", "$y$", "$gy$", "$md5",
    "$sha1$", "$apr1$", "$argon2", "$scrypt$",
];

/// Whether a field of an account file is the hash of a password, be the account locked or not.
fn is_hash(field: &[u8]) -> bool {
    let field = without_start(field, |byte| byte == b'!');
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"./".contains(byte);
    match field {
        [b'$', ..] => HASHES.iter().any(|start| field.starts_with(start.as_bytes())),
        // {SSHA}, {SHA}, {CRYPT}: htpasswd(1), slappasswd(8)
        [b'{', rest @ ..] => {
            rest.iter().position(|&byte| byte == b'}').is_some_and(|end| rest.len() > end + 8)
        }
        // BSDi's and the traditional form.
        [b'_', rest @ ..] => rest.len() == 19 && rest.iter().all(is_letter),
        field => field.len() == 13 && field.iter().all(is_letter),
    }
}

/// Whether a text begins with a hash of full length: `$6$salt$` and at least 20 letters.
fn is_long_hash(text: &[u8]) -> bool {
    if !HASHES.iter().any(|start| text.starts_with(start.as_bytes())) {
        return false;
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"./$=,+-".contains(&byte);
    let length = text.iter().position(|&byte| !is_letter(byte)).unwrap_or(text.len());
    let parts: Vec<&[u8]> = text[..length].split(|&byte| byte == b'$').collect();
    parts.len() >= 4 && parts.last().is_some_and(|hash| hash.len() >= 20)
}

/// Whether a line holds `//user:password@`.
fn has_password_in_url(line: &[u8]) -> bool {
    places(line, b"://").any(|at| {
        let rest = &line[at + 3..];
        // `%40` is part of a password, `%s` is none.
        let is_escape =
            |at: usize| rest.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let is_end = |(at, byte): (usize, &u8)| match byte {
            b'%' => !is_escape(at),
            byte => byte.is_ascii_whitespace() || b"/\"'<>`()[]{}$*".contains(byte),
        };
        let authority = &rest[..rest.iter().enumerate().position(is_end).unwrap_or(rest.len())];
        let Some(host) = authority.iter().rposition(|&byte| byte == b'@') else { return false };
        let Some(colon) = authority[..host].iter().position(|&byte| byte == b':') else { return false };
        let password = &authority[colon + 1..host];
        // What manuals and comments show.
        let shown: [&[u8]; 7] = [b"", b"pass", b"password", b"pw", b"passwd", b"xxx", b"changeme"];
        !shown.contains(&&*password.to_ascii_lowercase()) && host + 1 < authority.len()
    })
}

/// Whether the dollar is the one in `SCRAM-SHA-256$4096:`, as PostgreSQL keeps passwords.
fn is_scram(content: &[u8], at: usize) -> bool {
    content[..at].ends_with(b"SCRAM-SHA-256")
        && content.get(at + 1).is_some_and(u8::is_ascii_digit)
        && content[at..].iter().skip(1).find(|byte| !byte.is_ascii_digit()) == Some(&b':')
}

#[cfg(test)]
mod tests;
