//! The rules: where secrets of each kind lie, and what they look like.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::evidence::Evidence::{self, *};
use super::kind::Kind::{self, *};
use super::pattern::Pattern;

mod by_name;

use by_name::{BY_NAME, PEM_KEY, PGP_KEY};

/// A rule. `paths` are as in [`Pattern`].
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    paths: &'static [&'static str],
    evidence: Evidence,
}

const fn rule(kind: Kind, paths: &'static [&'static str], evidence: Evidence) -> Rule {
    Rule { kind, paths, evidence }
}

/// Armours in base64, as Kubernetes and cloud-init have them: `-----BEGIN` with "PRIVATE", or "RSA PRIVATE" and
/// so on.
const ENCODED_KEY: Evidence = Contains(&[
    "LS0tLS1CRUdJTiBQUklWQVRF",
    "LS0tLS1CRUdJTiBSU0EgUFJJVkFUR",
    "LS0tLS1CRUdJTiBFQyBQUklWQVRF",
    "LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVE",
    "LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFUR",
    "LS0tLS1CRUdJTiBQR1AgUFJJVkFUR",
]);

/// For files of any name that are not of packages.
const ANYWHERE: &[Rule] = &[
    rule(PgpKey, &[], PGP_KEY),
    rule(SshKey, &[], Armour(&["OPENSSH PRIVATE KEY-----", "SSH2 ENCRYPTED PRIVATE KEY ----"])),
    rule(PrivateKey, &[], PEM_KEY),
    rule(PrivateKey, &[], ENCODED_KEY),
    rule(PuttyKey, &[], Begins(&[b"PuTTY-User-Key-File-"])),
    rule(PasswordHash, &[], Hash),
    rule(PrivateKey, &[], DerKey),
    rule(KeyStore, &[], DerStore),
    rule(CloudCredentials, &[], CloudKey),
    rule(ApiToken, &[], Token),
    rule(UrlPassword, &[], Url),
    rule(ProgramPassword, &[], Login),
];

/// For files that others name.
pub(super) static DISK_KEY: Rule = rule(DiskKey, &[], Anything);
pub(super) static MOUNT_PASSWORD: Rule = rule(MountPassword, &[], Anything);
pub(super) static VPN_LOGIN: Rule = rule(VpnSecret, &[], Anything);

/// What files are called that show how a real one would look.
const EXAMPLES: [&str; 5] = [".example", ".sample", ".template", ".dist", "-example"];

/// The rules, ready for looking up by names.
pub(super) struct Rules {
    /// By the whole last component: patterns, and the places of their rules in the table.
    literal: HashMap<&'static [u8], Vec<(Pattern, usize)>>,
    wildcard: Vec<(Pattern, usize)>,
    /// By paths from the image's root.
    named: HashMap<PathBuf, &'static Rule>,
}

impl Rules {
    /// `named` are the rules for single files.
    pub(super) fn new(named: HashMap<PathBuf, &'static Rule>) -> Self {
        let mut rules = Self { literal: HashMap::new(), wildcard: Vec::new(), named };
        for (place, rule) in BY_NAME.iter().enumerate() {
            for pattern in rule.paths.iter().map(|path| Pattern::new(path)) {
                if pattern.name.contains('*') {
                    rules.wildcard.push((pattern, place));
                } else {
                    rules.literal.entry(pattern.name.as_bytes()).or_default().push((pattern, place));
                }
            }
        }
        rules
    }

    /// The rules for a file of that name in `folder`, in their order.
    pub(super) fn of(&self, folder: &Path, name: &[u8]) -> Vec<&'static Rule> {
        let mut found = Vec::new();
        if !self.named.is_empty() {
            found.extend(self.named.get(&folder.join(OsStr::from_bytes(name))));
        }
        if EXAMPLES.iter().any(|end| name.ends_with(end.as_bytes())) {
            return found;
        }
        let literal = self.literal.get(name).into_iter().flatten();
        let matching = literal.chain(&self.wildcard).filter(|(pattern, _)| pattern.matches(folder, name));
        let mut places: Vec<usize> = matching.map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        found.extend(places.into_iter().map(|place| &BY_NAME[place]));
        found
    }
}

/// The kind of secret in a content, if there is one: by the rules for the file's name, and if `anywhere`
/// is set by those for any name.
pub(super) fn judge(by_name: &[&Rule], anywhere: bool, content: &[u8]) -> Option<Kind> {
    let anywhere = if anywhere { ANYWHERE } else { &[] };
    let mut rules = by_name.iter().copied().chain(anywhere);
    rules.find(|rule| rule.evidence.is_in(content)).map(|rule| rule.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_rules_for_many_kinds_and_none_is_without_a_place() {
        let kinds: BTreeSet<Kind> = BY_NAME.iter().map(|rule| rule.kind).collect();
        assert!(kinds.len() > 30);
        assert!(BY_NAME.iter().all(|rule| !rule.paths.is_empty()));
    }
}
