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

/// The account files of a full Debian 12: all packages of standard priority, the desktop of
/// `task-xfce-desktop`, `task-laptop`, the other display managers, and usual services, each account made by
/// its package. Ten users and ten groups more were made there by useradd, groupadd, gpasswd and chpasswd.
const BOOKWORM: [(&str, &str); 12] = [
    ("passwd", include_str!("bookworm/passwd")),
    ("group", include_str!("bookworm/group")),
    ("shadow", include_str!("bookworm/shadow")),
    ("gshadow", include_str!("bookworm/gshadow")),
    ("subuid", include_str!("bookworm/subuid")),
    ("subgid", include_str!("bookworm/subgid")),
    ("passwd-", include_str!("bookworm/passwd-")),
    ("group-", include_str!("bookworm/group-")),
    ("shadow-", include_str!("bookworm/shadow-")),
    ("gshadow-", include_str!("bookworm/gshadow-")),
    ("subuid-", include_str!("bookworm/subuid-")),
    ("subgid-", include_str!("bookworm/subgid-")),
];

fn bookworm() -> Vec<(&'static str, String)> {
    let more = [("hostname", "server\n"), (".pwd.lock", ""), ("group~", "old\n"), ("passwd.bak", "old\n")];
    BOOKWORM.into_iter().chain(more).map(|(name, text)| (name, text.to_owned())).collect()
}

/// Those of a bookworm, one of them changed.
fn changed(name: &str, change: impl Fn(&str) -> String) -> Vec<(&'static str, String)> {
    let each = |(file, text): (&'static str, String)| (file, if file == name { change(&text) } else { text });
    bookworm().into_iter().map(each).collect()
}

/// Those of a bookworm without some.
fn without(name: &str) -> Vec<(&'static str, String)> {
    bookworm().into_iter().filter(|(file, _)| !name.split(' ').any(|name| *file == name)).collect()
}

// I11-I20
#[test]
fn the_accounts_of_a_full_bookworm_become_those_of_the_original() {
    let world = World::new();
    let pair = Pair::new(&world, &bookworm());
    pair.compare("bookworm");
    // The comparison is not one of nothing with nothing.
    let files = listing(&pair.ours);
    let text = |name: &str| files[name].3.as_str();
    let lines = |name: &str| text(name).lines().count();
    let people = ["administrator", "alice", "bob", "teacher1", "teacher2", "pupil1", "pupil2", "guest"];
    assert_eq!(BOOKWORM[0].1.lines().count(), 47 + 10);
    assert_eq!((lines("passwd"), lines("shadow")), (47 + 10 - people.len(), 47 + 10 - people.len()));
    for name in ["passwd", "group", "shadow", "gshadow"] {
        assert!(people.iter().all(|person| !text(name).contains(person)), "{name}");
        assert!(!text(name).contains("$y$"), "{name}");
    }
    // What services and users of other services need has stayed.
    assert!(text("group").contains("\nteachers:x:1099:exam-service\n"), "{}", text("group"));
    assert!(text("group").contains("\nprojects:x:1101:www-data\n") && !text("group").contains("class-7a"));
    assert_eq!((lines("group"), lines("gshadow")), (74 + 5, 74 + 5));
    assert_eq!(lines("subuid"), 9);
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let stayed =
        [".pwd.lock", "group", "gshadow", "hostname", "passwd", "passwd.bak", "shadow", "subgid", "subuid"];
    assert_eq!(names, stayed);
}

// I19, U5
#[test]
fn a_missing_gshadow_or_shadow_makes_no_difference() {
    for name in ["gshadow", "shadow", "shadow gshadow"] {
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

// I13-I15
#[test]
fn odd_files_that_the_original_reads_become_the_same() {
    let world = World::new();
    let without_end = |text: &str| text.trim_end().to_owned();
    let members: Vec<String> = (0..20_000).map(|number| format!("pupil{number}")).collect();
    let crowd = format!("crowd:x:470:alice,www-data,{},www-data,sshd\n", members.join(","));
    for (name, more) in [
        // Names and ids that are there already, an id out of any range, a password in the file itself.
        ("passwd", "alice:x:1050:0:again:/:/bin/sh\nalice:x:470:0:again:/:/bin/sh\n"),
        ("passwd", "bob2:x:1002:1002::/:/bin/sh\nwww-data:x:1070:33::/:/bin/sh\n"),
        ("passwd", "far:x:4294967294:100::/:\nhashed:$6$salt$hash:471:0::/:/bin/sh\nopen::472:0::/:\n"),
        ("passwd", "\t tabs:x:473:0:: /home/x :/bin/sh \t\n"),
        ("group", "projects:x:1150:daemon\nprojects2:x:1101:sshd\ncopy:x:4:alice,bob\n"),
        ("group", "hashed:$6$salt$hash:474:alice,nobody-knows\nempty::475:\nnobody2:x:65534:nobody\n"),
        ("group", &crowd),
    ] {
        Pair::new(&world, &changed(name, |text| text.to_owned() + more))
            .compare(&format!("{name}: {more:.80}"));
        let files = changed(name, |text| without_end(&(text.to_owned() + more)));
        Pair::new(&world, &files).compare(&format!("{name} without an end: {more:.80}"));
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
    assert!(users.contains("\nalice:") && !users.contains("systemd-coredump:"), "{users}");
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

// U9: what makes the original write on the server.
#[test]
fn folders_that_are_links_never_lead_to_the_server() {
    for name in ["etc", "tmp"] {
        let world = World::new();
        let server = world.path.join("server");
        let make_server = || {
            fs::create_dir_all(&server).unwrap();
            for (file, text) in bookworm() {
                fs::write(server.join(file), text).unwrap();
            }
        };
        let pair = Pair::new(&world, &bookworm());
        pair.each(|root| {
            let _ = fs::remove_dir_all(root.join(name));
            symlink(&server, root.join(name)).unwrap();
        });
        let state = || -> BTreeMap<_, _> {
            let entries = fs::read_dir(&server).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| (path.clone(), fs::read(path).ok())).collect()
        };
        make_server();
        let before = state();
        pair.run_original();
        assert_ne!(state(), before, "{name}: the original");
        fs::remove_dir_all(&server).unwrap();
        make_server();
        let ours = pair.run_ours();
        assert_eq!(state(), before, "{name}: ours");
        match name {
            "etc" => {
                let error = ours.unwrap_err().to_string();
                assert!(error.contains("there is no etc/passwd"), "{error}");
            }
            _ => ours.unwrap(),
        }
    }
}

// U5: what the original gives up on.
#[test]
fn files_on_which_the_original_fails_are_cleaned_all_the_same() {
    let world = World::new();
    for (name, more) in [
        ("passwd", &b"\n"[..]),
        ("passwd", b"# alice was here\n"),
        ("passwd", b"+::::::\n"),
        ("passwd", b"+@people::::::\n"),
        ("passwd", b"-alice\n"),
        ("passwd", b"lost:x:7777:7777::/:/bin/sh\n"),
        ("passwd", b"short:x:1010:1000\n"),
        ("passwd", b"long:x:1010:100::/:/bin/sh:more\n"),
        ("passwd", b"no-number:x::100::/:/bin/sh\n"),
        ("passwd", b"no-number:x:1010:people::/:/bin/sh\n"),
        ("passwd", b"m\xfcller:x:1010:100::/:/bin/sh\n"),
        ("passwd", b"alone"),
        ("passwd", b"\0\0\0\n"),
        ("group", b"\n"),
        ("group", b"# a comment\n"),
        ("group", b"+:::\n"),
        ("group", b"odd\n"),
        ("group", b"no-number:x:x:alice\n"),
        ("group", b"m\xfcller:x:1010:alice\n"),
    ] {
        let pair = Pair::new(&world, &bookworm());
        pair.each(|root| {
            let path = root.join("etc").join(name);
            let text = [&fs::read(&path).unwrap()[..], more].concat();
            fs::write(path, text).unwrap();
        });
        let shown = String::from_utf8_lossy(more);
        assert!(!pair.run_original().status.success(), "{name}: {shown}");
        pair.run_ours().unwrap();
        for file in ["passwd", "group", "shadow", "gshadow"] {
            let text = fs::read(pair.ours.join("etc").join(file)).unwrap();
            let text = String::from_utf8_lossy(&text).replace("-alice", "");
            assert!(!text.contains("alice") && !text.contains("$y$"), "{name}: {shown}: {file}: {text}");
            assert!(
                text.contains("root:") && text.contains("\nwww-data:"),
                "{name}: {shown}: {file}: {text}"
            );
        }
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
