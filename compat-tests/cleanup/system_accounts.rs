//! Our account databases against those of the original: its own account step, from Debian's package
//! `ltsp`, is run on a copy of the same files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ltsp_core::cleanup::Ranges;
use ltsp_core::cleanup::system_accounts::keep_system_accounts;
use ltsp_core::error::Result;
use ltsp_core::sys::confined::Root;

use crate::numbers::Numbers;
use crate::world::World;

/// The cleanup step of the original.
const ORIGINAL: &str = "/usr/share/ltsp/server/image/55-cleanup.sh";

/// An entry in `etc`: type and mode, owner, group, content. The original writes members in random order;
/// here they are sorted.
type Listing = BTreeMap<String, (u32, u32, u32, String)>;

/// Two roots with the same `etc`.
struct Pair {
    ours: PathBuf,
    theirs: PathBuf,
}

impl Pair {
    fn new(world: &World, files: &[(&str, String)]) -> Self {
        let pair = Self { ours: world.path.join("ours"), theirs: world.path.join("theirs") };
        for root in pair.roots() {
            if root.exists() {
                fs::remove_dir_all(root).unwrap();
            }
            fs::create_dir_all(root.join("etc")).unwrap();
            for (name, text) in files {
                let path = root.join("etc").join(name);
                fs::write(&path, text).unwrap();
                if name.contains("shadow") {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                    chown(&path, Some(5), Some(42)).unwrap();
                }
            }
        }
        pair
    }

    fn roots(&self) -> [&PathBuf; 2] {
        [&self.ours, &self.theirs]
    }

    fn each(&self, change: impl Fn(&Path)) {
        self.roots().into_iter().for_each(|root| change(root));
    }

    fn run_ours(&self) -> Result<()> {
        let root = Root::open(&self.ours).unwrap();
        keep_system_accounts(&root, &Ranges::of_server()?)
    }

    fn run_original(&self) -> Output {
        assert!(Path::new(ORIGINAL).is_file(), "the original is missing: install Debian's package ltsp");
        // What the rest of the original brings for its steps: its folder, and the end of a run when a
        // step fails.
        let script = "re() { \"$@\" || { echo \"failed: $*\" >&2; exit 1; }; }\n\
                      _LTSP_DIR=/usr/share/ltsp _COW_DIR=$1\n. \"$2\"\nremove_users\n";
        let output = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&self.theirs, Path::new(ORIGINAL)])
            .env("LC_ALL", "C.UTF-8")
            .output();
        output.unwrap()
    }

    /// Runs both and compares.
    fn compare(&self, what: &str) {
        let before = listing(&self.ours);
        let original = self.run_original();
        let said = String::from_utf8_lossy(&original.stderr).into_owned();
        assert!(original.status.success(), "{what}: the original failed: {said}");
        self.run_ours().unwrap();
        assert_eq!(listing(&self.ours), listing(&self.theirs), "{what}, of {before:#?}");
    }
}

fn listing(root: &Path) -> Listing {
    let entries = fs::read_dir(root.join("etc")).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let status = entry.metadata().unwrap();
        let mut text = match fs::read_link(entry.path()) {
            Ok(target) => target.to_str().unwrap().to_owned(),
            Err(_) => fs::read_to_string(entry.path()).unwrap(),
        };
        if name == "group" || name == "gshadow" {
            text = text.lines().map(|line| sorted(line) + "\n").collect();
        }
        (name, (status.mode(), status.uid(), status.gid(), text))
    });
    entries.collect()
}

fn sorted(line: &str) -> String {
    let (before, members) = line.rsplit_once(':').unwrap();
    let mut members: Vec<&str> = members.split(',').collect();
    members.sort_unstable();
    format!("{before}:{}", members.join(","))
}

/// The accounts of a Debian 12 with a desktop and the usual services, as their packages make them.
const PASSWD: &str = include_str!("bookworm/passwd");
const GROUP: &str = include_str!("bookworm/group");
/// Ten users and ten groups more.
const MORE_USERS: &str = include_str!("bookworm/extra.passwd");
const MORE_GROUPS: &str = include_str!("bookworm/extra.group");

fn bookworm() -> Vec<(&'static str, String)> {
    let passwd = format!("{PASSWD}{MORE_USERS}");
    let members = [
        ("adm", "administrator"),
        ("sudo", "administrator,alice"),
        ("cdrom", "administrator,alice,bob"),
        ("plugdev", "alice,bob,guest,epoptes"),
        ("users", "bob,pupil1,www-data"),
        ("audio", "alice"),
        ("lpadmin", "administrator"),
        ("shadow", "exam-service"),
        ("ssl-cert", "Debian-exim,library"),
    ];
    let mut group = String::new();
    for line in GROUP.lines().chain(MORE_GROUPS.lines()) {
        let name = line.split(':').next().unwrap();
        let more = members.iter().find(|(group, _)| *group == name).map_or("", |(_, more)| more);
        let comma = if line.ends_with(':') || more.is_empty() { "" } else { "," };
        group += &format!("{line}{comma}{more}\n");
    }
    let each = |text: &str, end: &str| -> String {
        text.lines().map(|line| format!("{}:{end}\n", line.split(':').next().unwrap())).collect()
    };
    let shadow =
        each(PASSWD, "*:19500:0:99999:7:::") + &each(MORE_USERS, "$y$j9T$salt$hash:19500:0:99999:7:::");
    let sub = "alice:100000:65536\nbob:165536:65536\n".to_owned();
    vec![
        ("gshadow", each(&group, "!:administrator:alice")),
        ("passwd-", passwd.clone()),
        ("shadow-", shadow.clone()),
        ("group~", group.clone()),
        ("subuid-", sub.clone()),
        ("subuid", sub.clone()),
        ("subgid", sub),
        ("passwd", passwd),
        ("group", group),
        ("shadow", shadow),
        ("hostname", "server\n".to_owned()),
    ]
}

fn without(name: &str) -> Vec<(&'static str, String)> {
    bookworm().into_iter().filter(|(file, _)| *file != name).collect()
}

// I11-I20
#[test]
fn the_accounts_of_a_full_bookworm_become_those_of_the_original() {
    let world = World::new();
    let pair = Pair::new(&world, &bookworm());
    pair.compare("bookworm");
    // The comparison is not one of nothing with nothing.
    let files = listing(&pair.ours);
    let lines = |name: &str| files[name].3.lines().count();
    assert_eq!((lines("passwd"), lines("shadow")), (39 + 2, 39 + 2));
    assert_eq!((lines("group"), lines("gshadow")), (67 + 3, 67 + 3));
    assert_eq!(lines("subuid"), 2);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["group", "gshadow", "hostname", "passwd", "shadow", "subgid", "subuid"]);
}

// I19, U5
#[test]
fn a_missing_gshadow_or_shadow_makes_no_difference() {
    for name in ["gshadow", "shadow"] {
        let world = World::new();
        // The group `shadow` has the same number on every Debian, so the server's is the root's.
        Pair::new(&world, &without(name)).compare(&format!("without {name}"));
    }
}

// I12-I18
#[test]
fn accounts_of_all_kinds_become_those_of_the_original() {
    let world = World::new();
    let mut numbers = Numbers(1);
    for case in 0..40 {
        Pair::new(&world, &generated(&mut numbers)).compare(&format!("case {case}"));
    }
}

// I12
#[test]
fn the_ranges_are_those_of_the_servers_login_defs() {
    let world = World::new();
    let defs =
        world.file("login.defs", "UID_MIN 600\nUID_MAX\t998\nUID_MIN 500 # later\nGID_MIN 110\n#GID_MAX 7\n");
    rustix::mount::mount_bind(&defs, "/etc/login.defs").unwrap();
    let pair = Pair::new(&world, &bookworm());
    pair.each(|root| fs::write(root.join("etc/login.defs"), "UID_MIN 5\n").unwrap());
    pair.compare("other ranges");
    rustix::mount::unmount("/etc/login.defs", rustix::mount::UnmountFlags::DETACH).unwrap();
    let users = listing(&pair.ours)["passwd"].3.clone();
    assert!(users.contains("\nalice:") && !users.contains("systemd-network:"), "{users}");
}

// U9: a link that works for whoever boots the root, and is a file of the server for the original.
#[test]
fn absolute_links_are_those_of_the_root_and_not_of_the_server() {
    let world = World::new();
    let server = world.path.join("server");
    fs::create_dir(&server).unwrap();
    for (name, text) in bookworm() {
        fs::write(server.join(name), format!("{text}{name}")).unwrap();
    }
    let before = fs::read_dir(&server).unwrap().count();

    // Without links both agree; with them, ours is the same again.
    let expected = Pair::new(&world, &bookworm());
    expected.compare("no links");
    let expected = listing(&expected.ours);
    let pair = Pair::new(&world, &bookworm());
    pair.each(|root| {
        // Inside of a root that is booted, /accounts/passwd; on the server there is no such file.
        fs::create_dir(root.join("accounts")).unwrap();
        for name in ["passwd", "group", "shadow", "gshadow"] {
            fs::rename(root.join("etc").join(name), root.join("accounts").join(name)).unwrap();
            symlink(format!("/accounts/{name}"), root.join("etc").join(name)).unwrap();
        }
    });
    assert!(!pair.run_original().status.success());
    pair.run_ours().unwrap();
    assert_eq!(listing(&pair.ours), expected);

    // Links to files that only the server has: the original reads the server's, ours finds no root.
    let pair = Pair::new(&world, &bookworm());
    pair.each(|root| {
        for name in ["passwd", "group"] {
            fs::remove_file(root.join("etc").join(name)).unwrap();
        }
        for (name, text) in [("passwd", "root:x:0:0::/:/bin/sh\n"), ("group", "root:x:0:\n")] {
            fs::write(server.join(name), text).unwrap();
            symlink(server.join(name), root.join("etc").join(name)).unwrap();
        }
    });
    assert!(pair.run_original().status.success());
    assert_eq!(listing(&pair.theirs)["passwd"].3, "root:x:0:0::/:/bin/sh\n");
    let error = pair.run_ours().unwrap_err().to_string();
    assert!(error.contains("etc/passwd is no file, and no link to one inside"), "{error}");
    assert_eq!(fs::read_to_string(server.join("passwd")).unwrap(), "root:x:0:0::/:/bin/sh\n");
    assert_eq!(fs::read_dir(&server).unwrap().count(), before);
}

// U5: what the original gives up on.
#[test]
fn files_on_which_the_original_fails_are_cleaned_all_the_same() {
    let world = World::new();
    for (name, more) in [
        ("passwd", "\n"),
        ("passwd", "+::::::\n"),
        ("passwd", "lost:x:7777:7777::/:/bin/sh\n"),
        ("passwd", "short:x:1010:1000\n"),
        ("group", "\n"),
        ("group", "odd\n"),
    ] {
        let pair = Pair::new(&world, &bookworm());
        pair.each(|root| {
            let path = root.join("etc").join(name);
            let text = fs::read_to_string(&path).unwrap() + more;
            fs::write(path, text).unwrap();
        });
        assert!(!pair.run_original().status.success(), "{name}: {more:?}");
        pair.run_ours().unwrap();
        let files = listing(&pair.ours);
        assert!(!files["passwd"].3.contains("alice") && !files["shadow"].3.contains('$'), "{name}: {more:?}");
    }
}

/// Accounts around the borders of the ranges, with groups that share ids, odd spelling of numbers and
/// white space, and members of all kinds; but nothing on which the original fails.
fn generated(numbers: &mut Numbers) -> Vec<(&'static str, String)> {
    let ids = [1, 33, 100, 500, 999, 1000, 1001, 1002, 1003, 1005, 59_999, 60_000, 60_001, 65_534];
    let users: Vec<String> = (0..=numbers.next(9)).map(|number| format!("user{number}")).collect();
    let mut anyone = users.clone();
    anyone.extend(["root".to_owned(), "ghost".to_owned()]);

    let mut group = "root:x:0:\nshadow:x:42:\n".to_owned();
    for (number, gid) in ids.into_iter().enumerate() {
        group += &format!("group{number}:x:{gid}:{}\n", numbers.members(&anyone));
    }
    for number in 0..numbers.next(5) {
        let (gid, members) = (numbers.of(&ids), numbers.members(&anyone));
        group += &format!("  more{number}:secret:00{gid}:{members},\t\n");
    }
    let mut passwd = "root:x:0:0:root:/root:/bin/sh\n".to_owned();
    for user in &users {
        let zeros = if numbers.one_in(5) { "00" } else { "" };
        let (uid, gid) = (numbers.of(&ids), numbers.of(&ids));
        passwd += &format!("{user}:x:{zeros}{uid}:{gid}:Näme,,,:/home/{user}:/bin/bash\n");
    }
    if numbers.one_in(4) {
        // The last line of a name counts.
        passwd += &format!("{}:y:{}:0:again:/:\n", numbers.of(&users), numbers.of(&ids));
    }
    let mut files = vec![("passwd", passwd), ("group", group)];
    if !numbers.one_in(4) {
        files.push(("shadow", "root:$6$salt$hash:19000:0:99999:7:::\n".to_owned()));
    }
    if numbers.one_in(2) {
        files.push(("gshadow", "root:secret:a:b\n".to_owned()));
    }
    files
}
