//! A client that speaks the NBD protocol over one TCP connection: whoever reads with it knows that the
//! connection never broke, because there is no code here that would make another.
//!
//! Source: doc/proto.md of <https://github.com/NetworkBlockDevice/nbd>; names are those of that document.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

const NBDMAGIC: u64 = 0x4e42_444d_4147_4943;
const IHAVEOPT: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;

const FLAG_FIXED_NEWSTYLE: u16 = 1;
const FLAG_NO_ZEROES: u16 = 2;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_FLAG_ERROR: u32 = 1 << 31;
const INFO_EXPORT: u16 = 0;

const CMD_READ: u16 = 0;
const CMD_WRITE: u16 = 1;

/// A connection to one export.
pub struct Connection {
    stream: TcpStream,
    /// The size of the export in bytes.
    pub size: u64,
    /// Whether the server says that the export cannot be written.
    pub read_only: bool,
    requests: u64,
}

impl Connection {
    /// Connects to nbd-server at `address` and asks for `export`.
    ///
    /// # Errors
    /// When the server cannot be reached, breaks the connection, or refuses the export.
    pub fn open(address: &str, export: &str) -> Result<Self> {
        let mut stream = TcpStream::connect((address, 10809))?;
        // A server that says nothing for so long will not say anything.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        expect("the server's greeting", read_u64(&mut stream)?, NBDMAGIC)?;
        expect("the server's greeting", read_u64(&mut stream)?, IHAVEOPT)?;
        read_u16(&mut stream)?;
        stream.write_all(&u32::from(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES).to_be_bytes())?;

        let mut option = Vec::new();
        option.extend(IHAVEOPT.to_be_bytes());
        option.extend(OPT_GO.to_be_bytes());
        option.extend(length(4 + export.len() + 2)?.to_be_bytes());
        option.extend(length(export.len())?.to_be_bytes());
        option.extend(export.as_bytes());
        option.extend(0_u16.to_be_bytes());
        stream.write_all(&option)?;
        let (size, flags) = negotiated(&mut stream)?;
        Ok(Self { stream, size, read_only: flags & 2 != 0, requests: 0 })
    }

    /// Reads `length` bytes at `offset`.
    ///
    /// # Errors
    /// When the connection breaks, or the server reports an error.
    pub fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>> {
        self.request(CMD_READ, offset, length, &[])?;
        let mut data = vec![0; length as usize];
        self.stream.read_exact(&mut data)?;
        Ok(data)
    }

    /// Writes `data` at `offset`.
    ///
    /// # Errors
    /// As for [`Connection::read`].
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.request(CMD_WRITE, offset, length(data.len())?, data)
    }

    fn request(&mut self, command: u16, offset: u64, length: u32, data: &[u8]) -> Result<()> {
        self.requests += 1;
        let mut request = Vec::new();
        request.extend(REQUEST_MAGIC.to_be_bytes());
        request.extend(0_u16.to_be_bytes());
        request.extend(command.to_be_bytes());
        request.extend(self.requests.to_be_bytes());
        request.extend(offset.to_be_bytes());
        request.extend(length.to_be_bytes());
        request.extend(data);
        self.stream.write_all(&request)?;

        expect("a reply", read_u32(&mut self.stream)?.into(), SIMPLE_REPLY_MAGIC.into())?;
        let error = read_u32(&mut self.stream)?;
        expect("the reply's cookie", read_u64(&mut self.stream)?, self.requests)?;
        match i32::try_from(error) {
            Ok(0) => Ok(()),
            Ok(number) => Err(Error::from_raw_os_error(number)),
            Err(_) => Err(Error::new(ErrorKind::InvalidData, "an error number out of range")),
        }
    }
}

/// Reads the replies to `NBD_OPT_GO`, and returns the export's size and transmission flags.
fn negotiated(stream: &mut TcpStream) -> Result<(u64, u16)> {
    let mut export = None;
    loop {
        expect("an option reply", read_u64(stream)?, OPTION_REPLY_MAGIC)?;
        expect("the option replied to", read_u32(stream)?.into(), OPT_GO.into())?;
        let reply = read_u32(stream)?;
        let mut data = vec![0; read_u32(stream)? as usize];
        stream.read_exact(&mut data)?;
        match reply {
            REP_ACK => {
                return export.ok_or_else(|| Error::new(ErrorKind::InvalidData, "no export information"));
            }
            REP_INFO if data.len() == 12 && data[..2] == INFO_EXPORT.to_be_bytes() => {
                let mut rest = &data[2..];
                export = Some((read_u64(&mut rest)?, read_u16(&mut rest)?));
            }
            REP_INFO => {}
            error if error & REP_FLAG_ERROR != 0 => {
                let text = String::from_utf8_lossy(&data);
                return Err(Error::new(ErrorKind::PermissionDenied, format!("refused ({error:#x}): {text}")));
            }
            other => {
                return Err(Error::new(ErrorKind::InvalidData, format!("an unknown reply {other:#x}")));
            }
        }
    }
}

fn expect(what: &str, found: u64, wanted: u64) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidData, format!("{what} is {found:#x} instead of {wanted:#x}")))
}

fn length(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|error| Error::new(ErrorKind::InvalidInput, error))
}

fn read_u16(from: &mut impl Read) -> Result<u16> {
    let mut bytes = [0; 2];
    from.read_exact(&mut bytes)?;
    Ok(u16::from_be_bytes(bytes))
}

fn read_u32(from: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_u64(from: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}
