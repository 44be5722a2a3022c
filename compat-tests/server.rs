//! `ltsp image /` on a server with file systems of its own: from the dry run, which changes nothing, to the
//! published image, which holds what the server's disks hold.

// A test's figures go to its output.
#![allow(clippy::print_stdout)]

mod rigs;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rigs::{chroot, excludes, tree};
use serde_json::{Value, json};

/// A server as `server.sh` makes it, after a script of commands; `run` in that is a program of the server.
struct Server {
    // Its standard input is what keeps the server alive.
    keeper: Child,
    folder: tempfile::TempDir,
}

const FUNCTIONS: &str = r#"
set -eu
run() { chroot "$server" /usr/bin/env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"; }
state() {
    find "$disks" -printf '%P %y %m %U %G %s %T@ %C@ %l\n' | sort
    ls -A "$server/tmp" "$server/run"
    cut -d ' ' -f 5- /proc/self/mountinfo
    losetup -ln -O BACK-FILE | grep -F "$folder" | sort
}
"#;

impl Server {
    fn after(script: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("server-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/compat-tests/server.sh");
        // That its input ends, in which read fails, tells it to go.
        let script = format!("{FUNCTIONS}\ncd \"$folder\"\n{script}\necho ready; read -r _ || true\n");
        let mut keeper = Command::new(program)
            .arg(env!("CARGO_BIN_EXE_ltsp"))
            .arg(chroot::demo())
            .arg(folder.path())
            .args(["bash", "-c", &script])
            .env("folder", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let mut line = String::new();
        let output = keeper.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line from the server");
        let server = Self { keeper, folder };
        assert_eq!(line, "ready\n", "the commands failed: {}", server.text("errors"));
        server
    }

    /// A place in the folder, with what is mounted there.
    fn path(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.keeper.id())).join(folder).join(name)
    }

    /// What a command of the script has written.
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap_or_else(|error| panic!("{error}: {}", self.text(name)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Its folder can be removed only when nothing is mounted there any more.
        let _ = self.keeper.wait();
    }
}

/// What the cleanup changes on this server, and what has to change with it.
const CLEANED: [&str; 7] =
    ["", "etc/fstab", "etc/group", "etc/gshadow", "etc/machine-id", "etc/passwd", "etc/shadow"];

#[test]
fn an_image_of_a_server_is_planned_and_then_holds_its_own_file_systems() {
    let server = Server::after(
        "state >before
         run ltsp image --dry-run --json / >plan.json 2>>errors
         run ltsp image --dry-run / >plan.text 2>>errors
         state >after
         run ltsp image --json --verify -m '-comp lz4' / >result.json 2>messages
         mkdir image; mount -o loop,ro server/srv/ltsp/images/$(uname -m).img image
         state >done",
    );
    assert_eq!(server.text("errors"), "");
    assert_eq!(server.text("before"), server.text("after"), "a dry run has changed something");

    let machine = Command::new("uname").arg("-m").output().expect("uname").stdout;
    let name = String::from_utf8(machine).expect("a name").trim().to_owned();
    let plan = server.json("plan.json");
    let places: Vec<&Value> = plan["parts"].as_array().unwrap().iter().map(|part| &part["place"]).collect();
    assert_eq!(places, ["/", "/boot", "/usr", "/var"]);
    assert_eq!(plan["path"], json!(format!("/srv/ltsp/images/{name}.img")));
    assert_eq!(plan["lock"], "/var/lib/dpkg/lock");
    assert_eq!(plan["kernel"]["kernel"], "/boot/vmlinuz-6.1.0-9-amd64");
    let text = server.text("plan.text");
    for line in ["/usr: /usr (ext4), mounted there", "all that is in /srv/ltsp"] {
        assert!(text.contains(line), "{text}");
    }

    // What was planned is what is done.
    let result = server.json("result.json");
    for member in ["name", "path", "source", "engine"] {
        assert_eq!(result[member], plan[member], "{member}");
    }
    assert_eq!(result["compressor"], "lz4");
    let image = server.path("server/srv/ltsp/images").join(format!("{name}.img"));
    assert_eq!(result["size"], json!(image.metadata().unwrap().len()));
    assert_eq!((&result["findings"], &result["backups"]), (&json!([]), &json!([])));
    for (file, content) in [("vmlinuz", "kernel\n"), ("initrd.img", "ramdisk\n")] {
        let path = server.path("server/srv/tftp/ltsp").join(&name).join(file);
        assert_eq!(fs::read_to_string(path).unwrap(), content);
    }

    let (disks, image) = (server.path("disks"), server.path("image"));
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/src/excludes/image.excludes");
    let left_out = excludes::left_out(Path::new(list), &disks);
    let comparison = tree::compare(&disks, &image, &left_out);
    println!("image of a server: {comparison}; {} paths excluded", left_out.len());
    let path = |difference: &String| difference.split(": ").next().unwrap_or_default().to_owned();
    let mut differing: BTreeSet<String> = comparison.differences.iter().map(path).collect();
    for path in CLEANED {
        differing.remove(path);
    }
    // Directories in which something was rewritten, and the roots of views, may have new times.
    for path in ["boot", "etc", "etc/ssh", "tmp", "usr", "var"] {
        differing.remove(path);
    }
    assert_eq!(differing, BTreeSet::from(["var/log/syslog".to_owned()]), "{:#?}", comparison.differences);
    assert!(comparison.entries > 3000, "{comparison}");
    let passwd = fs::read_to_string(image.join("etc/passwd")).unwrap();
    assert!(passwd.contains("root:") && !passwd.contains("alice"), "{passwd}");
    assert_eq!(fs::metadata(image.join("var/log/syslog")).unwrap().len(), 0);
    for hidden in ["home/alice", "etc/ssh/ssh_host_ed25519_key", "etc/NetworkManager/system-connections/wlan"]
    {
        assert!(!image.join(hidden).exists(), "{hidden}");
    }
    // Nothing is left but what was written.
    let mounts = |name: &str| {
        let text = server.text(name);
        text.lines().filter(|line| line.contains(" - ")).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let new: Vec<String> = mounts("done").difference(&mounts("before")).cloned().collect();
    assert!(matches!(&*new, [one] if one.contains("/image ")), "{new:?}");
}

// F15
#[test]
fn a_failed_run_opens_a_shell_in_the_mounted_source_if_that_is_asked_for() {
    let server = Server::after(
        "rm server/etc/group
         echo 'pwd; ls etc/passwd; echo $_IMG_NAME $DEBUG_SHELL; exit 0' >commands
         status=0
         run DEBUG_SHELL=1 ltsp image / <commands >out 2>messages || status=$?
         echo $status >status
         run DEBUG_SHELL=1 ltsp image nowhere <commands >out2 2>messages2 && exit 1
         run ltsp image / <commands >out3 2>messages3 && exit 1
         ls -A server/tmp >left",
    );
    let said = server.text("messages");
    let lines: Vec<&str> = said.lines().collect();
    let told = lines.iter().position(|line| line.contains("there is no etc/group")).expect(&said);
    let shell = lines.iter().position(|line| line.starts_with("/tmp/")).expect(&said);
    assert!(told < shell && lines[shell].ends_with("/root"), "{said}");
    assert_eq!(lines[shell + 1], "etc/passwd", "{said}");
    assert!(lines[shell + 2].ends_with(" 1"), "{said}");
    assert_eq!(said.matches("there is no etc/group").count(), 1, "{said}");
    assert_eq!(server.text("status"), "1\n");
    assert!(server.text("messages2").contains("etc/passwd"), "{}", server.text("messages2"));
    assert!(!server.text("messages3").contains("etc/passwd\n"), "{}", server.text("messages3"));
    assert_eq!(server.text("left"), "");
}

#[test]
fn a_terminal_shows_how_far_the_work_is_and_files_do_not() {
    let server = Server::after(
        "mkdir server/srv/ltsp/demo
         mount --bind disks server/srv/ltsp/demo; mount --bind disks/usr server/srv/ltsp/demo/usr
         mount --bind disks/var server/srv/ltsp/demo/var; mount --bind disks/boot server/srv/ltsp/demo/boot
         script -qec 'chroot \"$server\" /usr/local/sbin/ltsp image demo' terminal >/dev/null </dev/null
         run ltsp image demo >file 2>&1",
    );
    let shown = server.text("terminal");
    for part in ["\r[", "=>", " %", " GB of ", " s left", "\r\u{1b}[K", "Created /srv/ltsp/images/demo.img"] {
        assert!(shown.replace(" MB of ", " GB of ").contains(part), "{part} in {shown:?}");
    }
    let file = server.text("file");
    assert!(!file.contains('\r') && !file.contains("% ") && file.contains("Created "), "{file}");
}
