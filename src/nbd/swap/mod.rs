//! `nbdswapd`: swap space for a client, in a file that is there for one connection.

mod file;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::settings::{SwapService, SwapSettings};
use crate::error::{During, Error, Result};
use crate::sys::command::Command;
use crate::sys::signals;
use file::SwapFile;

/// Makes a swap file, and serves it if inetd has called.
///
/// # Errors
/// When anything fails: nbd-server then refuses the client (N30).
pub fn run(settings: &SwapSettings) -> Result<()> {
    signals::catch()?; // the file goes with us
    let booted_with = fs::read("/proc/cmdline").during("read", "/proc/cmdline")?;
    if is_live(&booted_with) {
        return Err(Error::said("this machine runs from a live image, which has no room for swap files"));
    }
    match &settings.service {
        SwapService::NbdServer(path) => for_nbd_server(path, settings),
        SwapService::Inetd { dir, file, server_options } => {
            let made = for_inetd(dir.as_deref(), file.as_deref(), settings)?;
            serve(&made, server_options)
        }
    }
}

/// N31
fn is_live(kernel_command_line: &[u8]) -> bool {
    kernel_command_line.windows(b"liveimg".len()).any(|window| window == b"liveimg")
}

/// nbd-server runs this before it opens the file, with its own user id, and waits for the end (N32).
fn for_nbd_server(path: &Path, settings: &SwapSettings) -> Result<()> {
    let path = std::path::absolute(path).during("find", path)?;
    let swap = SwapFile::create_in_own_dir(&path, settings.size)?;
    finish(&swap, settings)?;
    swap.remove_once_opened()
}

/// The file for a connection that inetd has accepted (N33).
fn for_inetd(dir: Option<&Path>, file: Option<&Path>, settings: &SwapSettings) -> Result<SwapFile> {
    if let Some(dir) = dir {
        if !dir.is_dir() || access(dir, Access::WRITE_OK).is_err() {
            let reason = "it is not a directory that this user may write in";
            return Err(Error::new("make swap files in", dir, reason).hint("set SWAPDIR to one"));
        }
    }
    let swap = match file {
        Some(file) => {
            let file = std::path::absolute(file).during("find", file)?;
            SwapFile::create(&file, settings.size)?
        }
        None => {
            let dir = dir.map_or_else(std::env::temp_dir, PathBuf::from);
            SwapFile::create_unnamed_in(&dir, settings.size)?
        }
    };
    finish(&swap, settings)?;
    Ok(swap)
}

fn finish(swap: &SwapFile, settings: &SwapSettings) -> Result<()> {
    if settings.run_mkswap {
        Command::new("mkswap").arg(swap.path()).output()?.check()?;
    }
    Ok(())
}

/// Standard input is the connection, and so are, from inetd, the other two: nothing may be written there.
///
/// Without `-d` nbd-server 3.24 would become a daemon first, and lose the connection by that.
fn serve(swap: &SwapFile, options: &[OsString]) -> Result<()> {
    let server = Command::new("nbd-server").inherit_stdin().arg("0").arg(swap.path()).args(options);
    // Its status only says how the client has left.
    server.args(["-d", "-C", "/dev/null"]).output().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn settings(service: SwapService) -> SwapSettings {
        SwapSettings { size: 3, run_mkswap: true, service }
    }

    // N31
    #[test]
    fn a_live_image_is_known_by_the_kernel_command_line() {
        assert!(is_live(b"quiet liveimg ro"));
        assert!(is_live(b"root=liveimg:x"));
        assert!(!is_live(b"live img"));
    }

    // N32: sparse, of SIZE MiB, 0600, with a swap signature; an old one is replaced
    #[test]
    fn the_file_for_nbd_server_is_sparse_private_and_swap_space() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nbd-swap/sub/192.0.2.1");
        for _ in 0..2 {
            let old = fs::metadata(&path).ok().map(|old| old.ino());
            let swap = SwapFile::create_in_own_dir(&path, 3).unwrap();
            finish(&swap, &settings(SwapService::NbdServer(path.clone()))).unwrap();
            let made = fs::metadata(&path).unwrap();
            assert_eq!((made.len(), made.mode() & 0o7777), (3 << 20, 0o600));
            assert!(made.blocks() * 512 < 1 << 20);
            assert_ne!(Some(made.ino()), old);
            assert_eq!(&fs::read(&path).unwrap()[4086..4096], b"SWAPSPACE2");
            let parent = fs::metadata(path.parent().unwrap()).unwrap();
            assert_eq!(parent.mode() & 0o7777, 0o700);
            std::mem::forget(swap); // stays, for the second round
        }
    }

    // N30
    #[test]
    fn a_failing_mkswap_is_an_error_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("swap/x");
        let too_small = SwapSettings { size: 0, ..settings(SwapService::NbdServer(path.clone())) };
        let error = for_nbd_server(&path, &too_small).unwrap_err();
        assert!(error.to_string().contains("mkswap"), "{error}");
        assert!(!path.exists());
    }

    // N33
    #[test]
    fn inetd_gets_a_file_where_the_settings_say() {
        let dir = tempfile::tempdir().unwrap();
        let inetd = settings(SwapService::Inetd { dir: None, file: None, server_options: Vec::new() });
        let unnamed = for_inetd(Some(dir.path()), None, &inetd).unwrap();
        assert_eq!(unnamed.path().parent().unwrap(), dir.path());
        let named = dir.path().join("named");
        let made = for_inetd(Some(dir.path()), Some(&named), &inetd).unwrap();
        assert_eq!(made.path(), named);
        for path in [unnamed.path(), &named] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!((metadata.len(), metadata.mode() & 0o7777), (3 << 20, 0o600));
        }
        drop((unnamed, made));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let error = for_inetd(Some(&named), None, &inetd).unwrap_err();
        assert!(error.to_string().contains("SWAPDIR"), "{error}");
    }
}
