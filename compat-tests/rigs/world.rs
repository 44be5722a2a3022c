//! A server of its own inside this machine: see `compat-tests/world.sh`, which makes it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

/// A server with the program freshly installed. Nothing done there reaches the machine.
///
/// On drop, or when this process dies, everything in it ends: processes, mounts, networks.
pub struct World {
    // Its standard input is what keeps the world alive; the kernel closes it if we die.
    keeper: Child,
    folder: TempDir,
}

impl World {
    /// Makes one.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("world-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a folder for the world");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/compat-tests/world.sh");
        let mut keeper = Command::new(script)
            .arg(program())
            .arg(folder.path())
            // The world's first process has to collect the dead; of the shells, bash does. That its input ends,
            // in which read fails, tells it to go.
            .args(["bash", "-c", "echo ready; read -r _ || true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {script}: {error}"));
        let mut line = String::new();
        let output = keeper.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line from the world");
        assert_eq!(line, "ready\n", "{script} failed");
        Self { keeper, folder }
    }

    /// The place of `path` in the world, for reading and writing from outside.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let inside = path.as_ref().strip_prefix("/").expect("paths in a world are absolute");
        Path::new(&format!("/proc/{}/root", self.keeper.id())).join(inside)
    }

    /// A program to be run in the world, with an empty standard input and the environment of a service.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let keeper = self.keeper.id();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{keeper}/ns/mnt"))
            .arg(format!("--net=/proc/{keeper}/ns/net"))
            // The keeper itself is still one of this machine's processes; its children are not.
            .arg(format!("--pid=/proc/{keeper}/ns/pid_for_children"))
            .arg("--")
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .envs([("RUNLEVEL", "2"), ("PREVLEVEL", "N")])
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line of words without blanks, which must succeed, and returns what it wrote.
    pub fn run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a program");
        succeeds(self.command(program).args(words))
    }

    /// Makes `tree` the chroot `/opt/ltsp/NAME`, where nobody can write to it.
    pub fn add_chroot(&self, name: &str, tree: &Path) {
        let place = format!("/opt/ltsp/{name}");
        std::fs::create_dir(self.path(&place)).expect("a folder for the chroot");
        succeeds(self.command("mount").args(["--bind", "-o", "ro"]).arg(tree).arg(&place));
    }

    /// Mounts the image `/opt/ltsp/images/NAME.img`, or any other file, and returns the place as seen
    /// from outside.
    pub fn mount(&self, image: &str, place: &str) -> PathBuf {
        std::fs::create_dir_all(self.path(place)).expect("a mount point");
        self.run(&format!("mount -t squashfs -o loop,ro {image} {place}"));
        self.path(place)
    }

    /// Runs `work` as a program on the server would, as far as its network goes.
    pub fn on_server<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.keeper.id())).expect("the world's network");
        in_network(&network, work)
    }

    /// A network that joins the world to one more machine: the world has `.1` in it, the other machine `.2`.
    /// `network` is the first three numbers of its addresses.
    pub fn add_network(&self, network: &str) -> Network {
        let name = network.replace('.', "-");
        // A network interface has at most 15 letters; so have "s-203-0-113" and the like.
        for line in [
            format!("ip netns add {name}"),
            format!("ip link add s-{name} type veth peer name c-{name} netns {name}"),
            format!("ip address add {network}.1/24 dev s-{name}"),
            format!("ip link set s-{name} up"),
            format!("ip -n {name} address add {network}.2/24 dev c-{name}"),
            format!("ip -n {name} link set c-{name} up"),
        ] {
            self.run(&line);
        }
        let namespace = File::open(self.path(format!("/run/netns/{name}"))).expect("its network namespace");
        Network { server: format!("{network}.1"), client: format!("{network}.2"), name, namespace }
    }

    /// The process that accepts nbd-server's connections (it forks one for each client), if it runs.
    pub fn nbd_server(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.path("/run/nbd-server.pid")).ok()?.trim().parse().ok()?;
        let name = std::fs::read_to_string(self.path(format!("/proc/{pid}/comm"))).ok()?;
        (name == "nbd-server\n").then_some(pid)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Its folder can be removed only when nothing is mounted there any more.
        let _ = self.keeper.wait();
    }
}

/// A network between the world and a client.
pub struct Network {
    /// The world's address in it.
    pub server: String,
    /// The client's address.
    pub client: String,
    name: String,
    namespace: File,
}

impl Network {
    /// Runs `work` as a program on the client's machine would: its connections come from there.
    pub fn on_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network(&self.namespace, work)
    }

    /// A program to be run on the client's machine, which shares the world's files.
    pub fn command(&self, world: &World, program: &str) -> Command {
        let mut command = world.command("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// The address of the export of `/opt/ltsp/NAME`, as libnbd's tools take it.
    pub fn uri(&self, name: &str) -> String {
        format!("nbd://{}//opt/ltsp/{name}", self.server)
    }
}

/// Runs `work` in a network namespace.
fn in_network<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // The namespace is the thread's alone, and ends with it; sockets made meanwhile stay in it.
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("joining a network");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a command that must succeed.
///
/// # Panics
/// When it fails, with what it wrote.
pub fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, texts(&output));
    output
}

/// What a program wrote, for a failure's message.
pub fn texts(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The program under test: the one just built, or `LTSP_PROGRAM`.
fn program() -> PathBuf {
    std::env::var_os("LTSP_PROGRAM")
        .map_or_else(|| env!("CARGO_BIN_EXE_ltsp-update-image").into(), PathBuf::from)
}
