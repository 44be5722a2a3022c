//! For tests: a real nbd-server on this machine's loopback, and a client of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::nbd::process::Process;

/// How often, and how many times, something is waited for; only so that a failure ends.
const PAUSE: Duration = Duration::from_millis(20);
const TIMES: usize = 1500;

/// It reads `conf.d` in its folder. On drop it ends.
pub struct RealServer {
    dir: TempDir,
    pub port: u16,
    pub pid: Pid,
}

impl RealServer {
    /// Starts it with what `prepare` has put into `conf.d`.
    pub fn start(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let conf_d = dir.path().join("conf.d");
        fs::create_dir(&conf_d).unwrap();
        prepare(&conf_d);
        // Free a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let main = dir.path().join("config");
        let text = format!(
            "[generic]\nlistenaddr = 127.0.0.1\nport = {port}\nincludedir = {}\nallowlist = true\n",
            conf_d.display()
        );
        fs::write(&main, text).unwrap();
        let pid_file = dir.path().join("pid");
        let started = std::process::Command::new("nbd-server")
            .arg("-C")
            .arg(&main)
            .arg("-p")
            .arg(&pid_file)
            .status()
            .expect("these tests need nbd-server");
        assert!(started.success());
        let pid = wait(|| fs::read_to_string(&pid_file).ok()?.trim().parse().ok().and_then(Pid::from_raw));
        let server = Self { dir, port, pid };
        wait(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        server
    }

    pub fn conf_d(&self) -> PathBuf {
        self.dir.path().join("conf.d")
    }

    /// It as it is found among all processes.
    pub fn process(&self) -> Process {
        let all = Process::all(Path::new("/proc")).unwrap();
        all.into_iter().find(|process| process.pid == self.pid).expect("it runs")
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::TERM);
        wait(|| test_kill_process(self.pid).is_err().then_some(()));
    }
}

/// A client that stays connected to one export.
pub struct Client {
    socket: TcpStream,
}

impl Client {
    pub fn connect(port: u16, export: &str) -> Self {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut greeting = [0; 18];
        socket.read_exact(&mut greeting).unwrap();
        // Flags 3: fixed newstyle, and no 124 zeros after the answer. Option 1: the export's name.
        let length = u32::try_from(export.len()).unwrap();
        let option = [&b"\0\0\0\x03IHAVEOPT\0\0\0\x01"[..], &length.to_be_bytes(), export.as_bytes()];
        socket.write_all(&option.concat()).unwrap();
        let mut answer = [0; 10];
        socket.read_exact(&mut answer).unwrap();
        Self { socket }
    }

    /// Reads 512 bytes.
    pub fn read(&mut self, offset: u64) -> Vec<u8> {
        let request = [&b"\x25\x60\x95\x13\0\0\0\0 a read "[..], &offset.to_be_bytes(), b"\0\0\x02\0"];
        let request = request.concat();
        assert_eq!(request.len(), 28);
        self.socket.write_all(&request).unwrap();
        let mut reply = [0; 16];
        self.socket.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"\x67\x44\x66\x98\0\0\0\0 a read ");
        let mut data = vec![0; 512];
        self.socket.read_exact(&mut data).unwrap();
        data
    }
}

/// An image of 64 KiB whose blocks of 512 bytes are all different.
pub fn image(path: &Path) {
    let file = fs::File::create(path).unwrap();
    for block in 0..128_u8 {
        file.write_all_at(&[block; 512], u64::from(block) * 512).unwrap();
    }
}

fn wait<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    for _ in 0..TIMES {
        if let Some(value) = ready() {
            return value;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("waited in vain");
}
