//! Users and groups of people (C22, C24), and the copies of their files that tools leave (D28).
//!
//! The files are edited directly, with the result that the chroot's own `userdel` and `groupdel` would
//! have, so that nothing of the chroot has to run. What these do not touch stays: root's password,
//! accounts outside of [`IDS`], home directories (the exclude list drops them) (C25).

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use crate::error::{Result, shown};
use crate::sys::confined::Root;

use super::account_file::{AccountFile, Name, field, id, members};
use super::login_defs;

/// The ids of the accounts and groups that are removed (C22, C24), whatever login.defs says: some
/// distributions used to count people from 500 on.
pub const IDS: RangeInclusive<u64> = 500..=60000;

/// Where the fields are (passwd(5), group(5), gshadow(5)).
const UID: usize = 2;
const PRIMARY_GID: usize = 3;
const SHELL: usize = 6;
const GID: usize = 2;
const GROUP_MEMBERS: usize = 3;
const GSHADOW_ADMINS: usize = 2;
const GSHADOW_MEMBERS: usize = 3;

/// Removes every user whose id is in [`IDS`], as `userdel` does, one after the other: from passwd,
/// shadow, subuid, subgid and the member lists of groups; with them their private groups, if the
/// chroot's login.defs says so.
///
/// Today's systems give the ids just below their people's to services (polkitd, systemd-network), which
/// would not start on the clients without their accounts. So an account stays whose id is below the
/// chroot's own `UID_MIN` and whose shell lets nobody log in.
///
/// # Errors
/// When one of the files cannot be read or written.
pub fn remove_users(root: &Root) -> Result<()> {
    let Some(mut passwd) = AccountFile::read(root, "etc/passwd")? else { return Ok(()) };
    let services = first_of_people(root, "UID_MIN")?;
    let goes = |line: &[u8]| is_removed(line, services);
    let gone = Gone::of(&passwd, &goes);
    let private_groups = gone.private_groups(root, &passwd)?;
    passwd.retain(|line| !goes(line));
    for path in ["etc/shadow", "etc/subuid", "etc/subgid"] {
        edit(root, path, |file| {
            file.retain(|line| !field(line, 0).is_some_and(|name| gone.users.contains_key(name)));
        })?;
    }
    let is_gone = |name: &[u8]| gone.users.contains_key(name);
    edit(root, "etc/group", |group| {
        group.remove_members(GROUP_MEMBERS, is_gone);
        remove_by_name(group, &private_groups);
    })?;
    edit(root, "etc/gshadow", |gshadow| {
        gshadow.remove_members(GSHADOW_ADMINS, is_gone);
        gshadow.remove_members(GSHADOW_MEMBERS, is_gone);
        remove_by_name(gshadow, &private_groups);
    })?;
    passwd.write(root)
}

/// Removes every group whose id is in [`IDS`], as `groupdel` does, from group and gshadow. One that is
/// the primary group of a remaining account stays, with a warning (D18). So do, without one, the groups
/// of services, whose ids are below the chroot's own `GID_MIN`.
///
/// # Errors
/// When one of the files cannot be read or written.
pub fn remove_groups(root: &Root) -> Result<()> {
    let passwd = AccountFile::read(root, "etc/passwd")?;
    let accounts = passwd.as_ref().map(AccountFile::lines).unwrap_or_default();
    let users: HashMap<u64, &[u8]> =
        accounts.iter().filter_map(|line| Some((id(line, PRIMARY_GID)?, field(line, 0)?))).collect();
    let Some(mut group) = AccountFile::read(root, "etc/group")? else { return Ok(()) };
    let before = group.names();
    let services = first_of_people(root, "GID_MIN")?;
    let range = services.max(*IDS.start())..=*IDS.end();
    group.retain(|line| {
        let user = id(line, GID).filter(|gid| range.contains(gid)).map(|gid| users.get(&gid));
        match user {
            None => true,
            Some(None) => false,
            Some(Some(user)) => {
                let name = String::from_utf8_lossy(field(line, 0).unwrap_or_default());
                let user = String::from_utf8_lossy(user);
                log::warn!(
                    "the group {} stays in the image: it is the primary group of the account {}",
                    shown(&*name),
                    shown(&*user)
                );
                true
            }
        }
    });
    let after = group.names();
    let removed: Vec<Name> = before.difference(&after).cloned().collect();
    edit(root, "etc/gshadow", |gshadow| remove_by_name(gshadow, &removed))?;
    group.write(root)
}

/// Removes the copies of the account files that tools make before they change them: they hold the last
/// account removed, with the hash of its password (D28).
///
/// # Errors
/// When one cannot be removed.
pub fn remove_backups(root: &Root) -> Result<()> {
    for name in ["passwd-", "shadow-", "group-", "gshadow-", "subuid-", "subgid-"] {
        root.remove(format!("etc/{name}"))?;
    }
    Ok(())
}

/// The users that are to go.
struct Gone {
    /// By name: which one it is, counted from 0, as they are removed one after the other.
    users: HashMap<Name, usize>,
}

impl Gone {
    /// A name that an account outside of the range has too stays everywhere but in its passwd line.
    fn of(passwd: &AccountFile, goes: &impl Fn(&[u8]) -> bool) -> Self {
        let mut users = HashMap::new();
        let names = |removed| {
            let lines = passwd.lines().iter().filter(move |line| goes(line) == removed);
            lines.filter_map(|line| field(line, 0)).map(<[u8]>::to_vec)
        };
        for (number, name) in names(true).enumerate() {
            users.insert(name, number);
        }
        for name in names(false) {
            users.remove(&name);
        }
        Self { users }
    }

    /// The groups that go with their user: those of its name that are its primary group, have no other
    /// member and are nobody else's primary group *at that moment* (userdel(8), USERGROUPS_ENAB).
    ///
    /// The moment matters for groups outside of the range only: the others go anyway.
    fn private_groups(&self, root: &Root, passwd: &AccountFile) -> Result<Vec<Name>> {
        if !login_defs::value(root, "USERGROUPS_ENAB")?.is_some_and(|value| value.eq_ignore_ascii_case("yes"))
        {
            return Ok(Vec::new());
        }
        let Some(group) = AccountFile::read(root, "etc/group")? else { return Ok(Vec::new()) };
        // Of each id, the accounts that have it as their primary group.
        let mut primary: HashMap<u64, Vec<&[u8]>> = HashMap::new();
        let mut gids: HashMap<&[u8], u64> = HashMap::new();
        for line in passwd.lines() {
            if let (Some(name), Some(gid)) = (field(line, 0), id(line, PRIMARY_GID)) {
                primary.entry(gid).or_default().push(name);
                gids.insert(name, gid);
            }
        }
        let is_private = |name: &[u8], line: &[u8]| {
            let (Some(moment), Some(gid)) = (self.users.get(name), id(line, GID)) else { return false };
            let others = members(field(line, GROUP_MEMBERS).unwrap_or_default());
            let mut others = others.chain(primary.get(&gid).into_iter().flatten().copied());
            gids.get(name) == Some(&gid)
                && others.all(|other| self.users.get(other).is_some_and(|number| number <= moment))
        };
        let lines = group.lines().iter().filter_map(|line| Some((field(line, 0)?, line)));
        Ok(lines.filter(|(name, line)| is_private(name, line)).map(|(name, _)| name.to_vec()).collect())
    }
}

/// Whether the account goes; below `services` are the ids of services.
fn is_removed(line: &[u8], services: u64) -> bool {
    let shell = field(line, SHELL).unwrap_or_default();
    let closed = [&b"/nologin"[..], b"/false"].iter().any(|end| shell.ends_with(end));
    id(line, UID).is_some_and(|uid| IDS.contains(&uid) && (uid >= services || !closed))
}

/// The first id of people according to the chroot's login.defs; that of [`IDS`] if it does not say.
fn first_of_people(root: &Root, setting: &str) -> Result<u64> {
    let value = login_defs::value(root, setting)?;
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(*IDS.start()))
}

fn remove_by_name(file: &mut AccountFile, names: &[Name]) {
    let names: HashSet<&[u8]> = names.iter().map(Vec::as_slice).collect();
    file.retain(|line| !field(line, 0).is_some_and(|name| names.contains(name)));
}

/// Changes a file if there is one.
fn edit(root: &Root, path: &'static str, change: impl FnOnce(&mut AccountFile)) -> Result<()> {
    match AccountFile::read(root, path)? {
        Some(mut file) => {
            change(&mut file);
            file.write(root)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join("etc").join(name), text).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn text(root: &Root, name: &str) -> String {
        String::from_utf8(root.read(format!("etc/{name}")).unwrap().unwrap()).unwrap()
    }

    // C22, C24, C25
    #[test]
    fn accounts_from_500_to_60000_go_from_all_files() {
        let (_dir, root) = root(&[
            (
                "passwd",
                "root:x:0:0::/root:/bin/sh\nlow:x:499:499::/:\nfirst:x:500:500::/:\nlast:x:60000:60000::/:\n\
                 high:x:60001:60001::/:\nnobody:x:65534:65534::/:\n",
            ),
            ("shadow", "root:$6$r:1::::::\nfirst:$6$f:1::::::\nhigh:$6$h:1::::::\nlast:!:1::::::\n"),
            ("group", "root:x:0:\nadm:x:4:first,low\nfirst:x:500:\nstaff:x:60000:high\nhigh:x:60001:last\n"),
            ("gshadow", "root:*::\nadm:*:first,low:first,low\nfirst:!::\nstaff:!::high\nhigh:!:last:\n"),
            ("subuid", "first:100000:65536\nlow:165536:65536\nlast:231072:65536\n"),
            ("subgid", "first:100000:65536\n"),
        ]);
        remove_users(&root).unwrap();
        remove_groups(&root).unwrap();
        assert_eq!(
            text(&root, "passwd"),
            "root:x:0:0::/root:/bin/sh\nlow:x:499:499::/:\nhigh:x:60001:60001::/:\nnobody:x:65534:65534::/:\n"
        );
        assert_eq!(text(&root, "shadow"), "root:$6$r:1::::::\nhigh:$6$h:1::::::\n");
        assert_eq!(text(&root, "group"), "root:x:0:\nadm:x:4:low\nhigh:x:60001:\n");
        assert_eq!(text(&root, "gshadow"), "root:*::\nadm:*:low:low\nhigh:!::\n");
        assert_eq!(text(&root, "subuid"), "low:165536:65536\n");
        assert_eq!(text(&root, "subgid"), "");
    }

    // C22: userdel(8) on USERGROUPS_ENAB
    #[test]
    fn a_private_group_outside_of_the_range_goes_with_its_user_if_nobody_else_has_it() {
        let passwd = "a:x:1000:200::/:\nb:x:1001:201::/:\nc:x:1002:202::/:\nd:x:1003:202::/:\ne:x:1004:1::/:\n\
                      s:x:2:203::/:\nf:x:1005:203::/:\n";
        let group = "a:x:200:a\nb:x:201:s\nc:x:202:\ne:x:204:\nf:x:203:\n";
        for (login_defs, left) in [
            ("USERGROUPS_ENAB yes\n", "b:x:201:s\nc:x:202:\ne:x:204:\nf:x:203:\n"),
            ("USERGROUPS_ENAB no\n USERGROUPS_ENAB\t\"YES\"\n", "b:x:201:s\nc:x:202:\ne:x:204:\nf:x:203:\n"),
            ("#USERGROUPS_ENAB yes\n", "a:x:200:\nb:x:201:s\nc:x:202:\ne:x:204:\nf:x:203:\n"),
        ] {
            let files = [("passwd", passwd), ("group", group), ("login.defs", login_defs)];
            let (_dir, root) = root(&files);
            remove_users(&root).unwrap();
            assert_eq!(text(&root, "group"), left, "{login_defs}");
            assert_eq!(text(&root, "passwd"), "s:x:2:203::/:\n");
        }
    }

    // D18
    #[test]
    fn a_group_that_is_the_primary_one_of_a_remaining_account_stays() {
        let (_dir, root) = root(&[
            ("passwd", "daemon:x:1:600::/:\n"),
            ("group", "daemon:x:600:\nother:x:601:\n"),
            ("gshadow", "daemon:*::\nother:!::\n"),
        ]);
        remove_groups(&root).unwrap();
        assert_eq!(text(&root, "group"), "daemon:x:600:\n");
        assert_eq!(text(&root, "gshadow"), "daemon:*::\n");
    }

    #[test]
    fn accounts_and_groups_of_services_stay_where_login_defs_tells_them_apart() {
        let passwd = "polkitd:x:996:996::/:/usr/sbin/nologin\nearly:x:600:600::/home/early:/bin/sh\n\
                      person:x:1000:1000::/home/person:/usr/sbin/nologin\n";
        let group = "polkitd:x:996:\nsystemd-journal:x:999:\nperson:x:1000:\n";
        for (login_defs, users, groups) in [
            (
                "UID_MIN 1000\nGID_MIN 1000\n",
                "polkitd:x:996:996::/:/usr/sbin/nologin\n",
                "polkitd:x:996:\nsystemd-journal:x:999:\n",
            ),
            ("", "", ""),
        ] {
            let (_dir, root) = root(&[("passwd", passwd), ("group", group), ("login.defs", login_defs)]);
            remove_users(&root).unwrap();
            remove_groups(&root).unwrap();
            assert_eq!(text(&root, "passwd"), users, "{login_defs}");
            assert_eq!(text(&root, "group"), groups, "{login_defs}");
        }
    }

    #[test]
    fn missing_files_are_not_made() {
        let (dir, root) = root(&[("passwd", "a:x:1000:1000::/:\n")]);
        remove_users(&root).unwrap();
        remove_groups(&root).unwrap();
        let names: Vec<_> =
            fs::read_dir(dir.path().join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["passwd"]);
        assert_eq!(text(&root, "passwd"), "");
    }

    #[test]
    fn a_system_account_of_the_same_name_keeps_its_password() {
        let (_dir, root) = root(&[
            ("passwd", "twin:x:1000:1000::/:\ntwin:x:33:33::/:\n"),
            ("shadow", "twin:*:1::::::\n"),
            ("group", "adm:x:4:twin\n"),
        ]);
        remove_users(&root).unwrap();
        assert_eq!(text(&root, "passwd"), "twin:x:33:33::/:\n");
        assert_eq!(text(&root, "shadow"), "twin:*:1::::::\n");
        assert_eq!(text(&root, "group"), "adm:x:4:twin\n");
    }

    #[test]
    fn account_files_outside_of_the_root_are_never_reached() {
        let (host, root) = root(&[("host-passwd", "a:x:1000:1000::/:\n"), ("host-group", "a:x:1000:\n")]);
        fs::create_dir_all(host.path().join("chroot/etc")).unwrap();
        let inner = root.dir("chroot").unwrap().unwrap();
        symlink(host.path().join("etc/host-passwd"), inner.shown("etc/passwd")).unwrap();
        symlink("../../etc/host-group", inner.shown("etc/group")).unwrap();
        remove_users(&inner).unwrap();
        remove_groups(&inner).unwrap();
        assert_eq!(text(&root, "host-passwd"), "a:x:1000:1000::/:\n");
        assert_eq!(text(&root, "host-group"), "a:x:1000:\n");
    }

    // D28
    #[test]
    fn copies_of_the_account_files_are_removed() {
        let (dir, root) = root(&[("shadow-", "a:$6$"), ("gshadow-", ""), ("passwd-x", ""), ("shadow", "")]);
        symlink("shadow", dir.path().join("etc/passwd-")).unwrap();
        remove_backups(&root).unwrap();
        assert!(root.lstat("etc/shadow-").unwrap().is_none());
        assert!(root.lstat("etc/passwd-").unwrap().is_none());
        assert!(root.is_file("etc/shadow").unwrap() && root.is_file("etc/passwd-x").unwrap());
    }
}
