//! Which accounts stay, and the four databases that they make.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::shown;

use super::super::login_defs::Ranges;
use super::entries::{Entry, Group, Line, Name, User};

/// The contents of the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Databases {
    pub(super) passwd: Vec<u8>,
    pub(super) group: Vec<u8>,
    pub(super) shadow: Vec<u8>,
    pub(super) gshadow: Vec<u8>,
}

/// Keeps the users outside of the range (I14), the groups outside of theirs and those that a kept user
/// needs (I15), and locks every password (I16, I17). `path` is passwd's name for warnings.
pub(super) fn reduce(
    path: &Path,
    mut users: Vec<Line<User>>,
    mut groups: Vec<Line<Group>>,
    ranges: &Ranges,
) -> Databases {
    users.retain(|line| line.entry().is_none_or(|user| !ranges.users.contains(&user.uid)));
    let primary_gids: HashMap<Name, i64> =
        users.iter().filter_map(Line::entry).map(|user| (user.name.clone(), user.gid)).collect();
    let needed = primary_groups(path, &users, &groups);
    groups.retain_mut(|line| {
        let Line::Entry(group) = line else { return true };
        // A member by its primary group is not listed.
        let gid = group.gid;
        group.members.retain(|member| primary_gids.get(member).is_some_and(|primary| *primary != gid));
        !ranges.groups.contains(&gid) || !group.members.is_empty() || needed.contains(&group.name)
    });

    let mut databases = Databases::default();
    for line in &users {
        let (passwd, shadow) = match line {
            Line::Entry(user) => (user.line(), [&user.name[..], b":!:::::::"].concat()),
            Line::Compat { line, name } => (line.clone(), [&name[..], b"::::::::"].concat()),
        };
        add(&mut databases.passwd, &passwd);
        add(&mut databases.shadow, &shadow);
    }
    for line in &groups {
        let (group, gshadow) = match line {
            Line::Entry(group) => {
                (group.line(), [&group.name[..], b":*::", &group.members.join(&b',')].concat())
            }
            Line::Compat { line, name } => (line.clone(), [&name[..], b":::"].concat()),
        };
        add(&mut databases.group, &group);
        add(&mut databases.gshadow, &gshadow);
    }
    databases
}

/// The names of the groups that are a kept user's primary one. Of groups with the same id it is the last.
fn primary_groups(path: &Path, users: &[Line<User>], groups: &[Line<Group>]) -> HashSet<Name> {
    let names: HashMap<i64, &Name> =
        groups.iter().filter_map(Line::entry).map(|group| (group.gid, &group.name)).collect();
    let mut needed = HashSet::new();
    for user in users.iter().filter_map(Line::entry) {
        match names.get(&user.gid) {
            Some(&name) => drop(needed.insert(name.clone())),
            None => log::warn!("{}, line {}: there is no group {}", shown(path), user.line, user.gid),
        }
    }
    needed
}

fn add(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(line);
    text.push(b'\n');
}
