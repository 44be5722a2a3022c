//! Asking an nbd-server, in its own protocol, which exports it has.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::nbd::configuration::Listening;

/// How long to wait for the server at each step; it is on the same machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Numbers of <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>.
mod protocol {
    pub const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
    pub const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
    pub const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
    /// In the server's and the client's flags: fixed newstyle.
    pub const FIXED: u16 = 1;
    pub const OPT_ABORT: u32 = 2;
    pub const OPT_INFO: u32 = 6;
    pub const REP_ACK: u32 = 1;
    pub const REP_ERROR: u32 = 1 << 31;
    pub const REP_ERR_UNKNOWN: u32 = REP_ERROR | 6;
    /// The longest reply that makes sense, in bytes.
    pub const LONGEST: u32 = 64 * 1024;
}

/// Whether the server has exports of all these names; `None` if it cannot be reached, or does not say.
///
/// It asks for information only (`NBD_OPT_INFO`). For that, nbd-server up to 3.27 looks for the name and
/// neither at the list of addresses, nor does it run the section's `prerun` or open the file: all
/// that comes with `NBD_OPT_GO` (`handle_info` in nbd-server.c).
pub fn has(listening: &Listening, names: &[&OsStr]) -> Option<bool> {
    let socket = listening.socket.as_ref().and_then(|path| {
        let socket = UnixStream::connect(path).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        socket.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(socket)
    });
    if let Some(mut socket) = socket {
        return ask(&mut socket, names).ok().flatten();
    }
    let reached = listening.addresses.iter().find_map(|address| {
        let socket = TcpStream::connect_timeout(&(*address).into(), PATIENCE).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        socket.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(socket)
    });
    ask(&mut reached?, names).ok().flatten()
}

fn ask(socket: &mut (impl Read + Write), names: &[&OsStr]) -> io::Result<Option<bool>> {
    let mut greeting = [0; protocol::GREETING.len()];
    socket.read_exact(&mut greeting)?;
    let flags = u16::from_be_bytes(array(socket)?);
    if &greeting != protocol::GREETING || flags & protocol::FIXED == 0 {
        return Ok(None);
    }
    socket.write_all(&u32::from(protocol::FIXED).to_be_bytes())?;
    let mut has_all = Some(true);
    for name in names {
        match info(socket, name.as_bytes())? {
            Some(true) => {}
            other => {
                has_all = other;
                break;
            }
        }
    }
    option(socket, protocol::OPT_ABORT, &[])?;
    Ok(has_all)
}

fn info(socket: &mut (impl Read + Write), name: &[u8]) -> io::Result<Option<bool>> {
    let length = u32::try_from(name.len()).map_err(|_| ErrorKind::InvalidInput)?;
    option(socket, protocol::OPT_INFO, &[&length.to_be_bytes(), name, &0_u16.to_be_bytes()].concat())?;
    loop {
        let magic = u64::from_be_bytes(array(socket)?);
        let [_option, kind, length] =
            [array(socket)?, array(socket)?, array(socket)?].map(u32::from_be_bytes);
        if magic != protocol::REPLY_MAGIC || length > protocol::LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        io::copy(&mut socket.take(length.into()), &mut io::sink())?;
        match kind {
            protocol::REP_ACK => return Ok(Some(true)),
            protocol::REP_ERR_UNKNOWN => return Ok(Some(false)),
            // Not supported, or for TLS only.
            kind if kind & protocol::REP_ERROR != 0 => return Ok(None),
            _ => {}
        }
    }
}

fn option(socket: &mut impl Write, number: u32, data: &[u8]) -> io::Result<()> {
    let length = u32::try_from(data.len()).map_err(|_| ErrorKind::InvalidInput)?;
    // One write, hence one packet: the server waits for the rest otherwise.
    let number = number.to_be_bytes();
    socket.write_all(&[protocol::OPTION_MAGIC, &number[..], &length.to_be_bytes(), data].concat())
}

fn array<const N: usize>(socket: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server sends, and what it gets.
    struct Script {
        sends: io::Cursor<Vec<u8>>,
        gets: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.sends.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.gets.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn reply(kind: u32, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        let head = [protocol::OPT_INFO, kind, length].map(u32::to_be_bytes).concat();
        [&protocol::REPLY_MAGIC.to_be_bytes()[..], &head, data].concat()
    }

    fn asked(replies: &[Vec<u8>], names: &[&str]) -> (Option<bool>, Vec<u8>) {
        let greeting = [&protocol::GREETING[..], &3_u16.to_be_bytes()].concat();
        let mut script =
            Script { sends: io::Cursor::new([greeting, replies.concat()].concat()), gets: Vec::new() };
        let names: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
        let answer = ask(&mut script, &names).ok().flatten();
        (answer, script.gets)
    }

    #[test]
    fn the_answer_follows_the_replies() {
        let info = reply(3, &[0; 12]);
        let (ack, unknown) = (reply(1, b""), reply(protocol::REP_ERR_UNKNOWN, b"Export unknown"));
        let tls = reply(protocol::REP_ERROR | 5, b"");
        let cases = [
            (vec![info.clone(), ack.clone(), info, ack.clone()], Some(true)),
            (vec![ack.clone(), unknown], Some(false)),
            (vec![tls], None),
            (vec![ack], None), // it hangs up
            (vec![b"nonsense that is long enough".to_vec()], None),
        ];
        for (replies, answer) in cases {
            assert_eq!(asked(&replies, &["/a", "/b"]).0, answer, "{replies:?}");
        }
    }

    #[test]
    fn it_asks_for_information_and_says_goodbye() {
        let (_, sent) = asked(&[reply(1, b"")], &["/a"]);
        let expected: &[&[u8]] =
            &[&[0, 0, 0, 1], b"IHAVEOPT\0\0\0\x06\0\0\0\x08\0\0\0\x02/a\0\0", b"IHAVEOPT\0\0\0\x02\0\0\0\0"];
        assert_eq!(sent, expected.concat());
    }
}
