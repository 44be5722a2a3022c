//! Both programs, each in a mount namespace where `/etc/ltsp` and `/srv` are those of one configuration.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::generate::Files;

/// The program of the package ltsp.
pub const ORIGINAL: &str = "/usr/share/ltsp/ltsp";

/// The status with which the last hook ends the run, before an image would be made.
pub const SEEN: i32 = 42;

/// The variables that are compared.
const NAMES: &str = "A B C D BASE_DIR TFTP_DIR HOME_DIR OVERWRITE MKSQUASHFS_PARAMS CLEANUP";
const FACTS: &str = "DEVICE IP_ADDRESS MAC_ADDRESS GATEWAY HOSTNAME";

#[derive(Debug, Clone, Copy)]
pub enum Program {
    Original,
    Ours,
}

impl Program {
    fn path(self) -> &'static str {
        match self {
            Self::Original => ORIGINAL,
            Self::Ours => env!("CARGO_BIN_EXE_ltsp"),
        }
    }
}

/// What an outsider can tell.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: i32,
    /// What hooks have written.
    pub text: String,
}

/// The configuration files of a machine.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub fn new(files: &Files) -> Self {
        assert!(
            Path::new(ORIGINAL).exists(),
            "{ORIGINAL} is missing: install the package ltsp (apt-get install ltsp)"
        );
        let dir = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("writing a configuration file");
        };
        write("ltsp.conf", &files.conf);
        if let Some(second) = &files.second {
            write("ltsp-image.conf", second);
        }
        Self { dir }
    }

    /// Runs `ltsp OPTIONS image`, up to its last hook, on a machine whose facts are given.
    pub fn evaluate(&self, program: Program, options: &[String]) -> Outcome {
        let facts = [
            ("DEVICE", "eth9"),
            ("IP_ADDRESS", "10.1.2.3"),
            ("MAC_ADDRESS", "aa:bb:cc:dd:ee:ff"),
            ("HOSTNAME", "pc01"),
            ("B", "from the environment"),
        ];
        self.run(program, "unshare --mount", ":", NAMES, options, &facts)
    }

    /// The facts that it finds by itself, in a network that these commands have set up.
    pub fn facts(&self, program: Program, network: &str) -> String {
        let links = "ip link set lo up; n=0; for d in eth0 eth1; do \
                     ip link add $d address 02:00:00:00:0$n:67 type veth peer name p$d; ip link set p$d up; \
                     ip link set $d up; n=$((n+1)); done";
        // sysfs shows the network of the namespace in which it was mounted.
        let set_up = match network {
            ":" => "mount -t sysfs sysfs /sys".to_owned(),
            network => format!("{links}; {network}; mount -t sysfs sysfs /sys"),
        };
        let names = format!("A {FACTS}");
        let outcome = self.run(program, "unshare --mount --net --uts", &set_up, &names, &[], &[]);
        assert_eq!(outcome.status, SEEN, "{program:?} in {network}: {outcome:?}");
        outcome.text
    }

    fn run(
        &self,
        program: Program,
        namespaces: &str,
        set_up: &str,
        names: &str,
        options: &[String],
        environment: &[(&str, &str)],
    ) -> Outcome {
        let mut words = namespaces.split(' ');
        let script = format!(
            "set -e; mount -t tmpfs -o mode=755 tmpfs /etc/ltsp; cp \"$1\"/* /etc/ltsp; chmod 644 /etc/ltsp/*; \
             mount -t tmpfs -o mode=755 tmpfs /srv; mount -t tmpfs -o mode=755 tmpfs /run; {set_up}; shift; \
             status=0; \"$@\" >&2 || status=$?; [ ! -e /srv/out ] || cat /srv/out; exit $status"
        );
        // The name comes after all others.
        let dump = format!(
            "for name in {names}; do eval \"printf '%s=[%s] ' $name \\\"\\${{$name-}}\\\"\" >>/srv/out; done; exit {SEEN}"
        );
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(["sh", "-c", &script, "sh"]).arg(self.dir.path()).arg(program.path());
        command.args(options).arg("image").stdin(Stdio::null()).stderr(Stdio::piped());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command.env("PRE_IMAGE_zzz", dump).envs(environment.iter().copied());
        let output = command.output().expect("running unshare");
        let status = output.status.code().unwrap_or(-1);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if status != SEEN {
            println!("{program:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Outcome { status, text }
    }
}
