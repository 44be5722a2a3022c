//! Keys and tokens of web services, which are known by how they are written.

use super::{Evidence, is_word, places};
use crate::audit::pattern::find;

/// What tokens begin with, up to the sign before their letters, and how many of these there are at least.
const TOKENS: [(&str, usize); 32] = [
    ("AGE-SECRET-KEY-", 58),
    ("dckr_pat_", 27),
    ("dop_v1_", 40),
    ("gho_", 36),
    ("ghp_", 36),
    ("ghr_", 36),
    ("ghs_", 36),
    ("ghu_", 36),
    ("github_pat_", 36),
    ("gldt-", 20),
    ("glpat-", 20),
    ("glrt-", 20),
    ("hf_", 34),
    ("hvs.", 24),
    ("lin_api_", 40),
    ("npm_", 36),
    ("pypi-", 60),
    ("rk_live_", 24),
    ("rubygems_", 48),
    ("SG.", 22),
    ("shpat_", 32),
    ("sk-ant-", 40),
    ("sk-proj-", 40),
    ("sk_live_", 24),
    ("sntrys_", 40),
    ("tskey-", 20),
    ("xapp-", 24),
    ("xoxa-", 24),
    ("xoxb-", 24),
    ("xoxp-", 24),
    ("xoxr-", 24),
    ("xoxs-", 24),
];

/// A digit among the letters tells a token from a long name in a program.
pub(super) fn has_token(content: &[u8]) -> bool {
    [b"_", b"-", b"."].into_iter().any(|sign| {
        places(content, sign).any(|at| {
            TOKENS.iter().any(|(start, length)| {
                let Some(before) = content[..=at].strip_suffix(start.as_bytes()) else { return false };
                let rest = &content[at + 1..];
                let letters = &rest[..rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len())];
                before.last().is_none_or(|&byte| !is_word(byte))
                    && letters.len() >= *length
                    && letters.iter().any(u8::is_ascii_digit)
            })
        })
    })
}

/// `aws_secret_access_key = …` in any writing, and `AccountKey=…` in addresses of Azure's.
pub(super) fn has_cloud_key(content: &[u8]) -> bool {
    let by_name = ["_access_key", "_ACCESS_KEY", "_access-key", "-access-key"];
    let by_name = by_name.iter().any(|name| find(content, name.as_bytes()).is_some())
        && Evidence::Setting(&["*secret_access_key", "*secret-access-key"]).is_in(content);
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    by_name
        || places(content, b"AccountKey=")
            .any(|at| content[at + 11..].iter().take_while(|b| is_key(b)).count() > 80)
}
