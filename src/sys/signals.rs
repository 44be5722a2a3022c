//! INT, TERM, HUP and QUIT as errors that travel up through the guards (D17).

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::error::{Error, Result, reason};

/// The signals that end a run in an orderly way.
pub const FATAL: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

struct Caught {
    /// The first signal that came, or 0.
    first: Arc<AtomicUsize>,
    /// Readable from the first signal on, so that a wait can end; never read, so that every later wait
    /// ends at once.
    wake: UnixStream,
}

static CAUGHT: OnceLock<Caught> = OnceLock::new();

/// Catches [`FATAL`] from now on; a second call changes nothing.
///
/// # Errors
/// The kernel's, when a handler cannot be installed.
pub fn catch() -> Result<()> {
    if CAUGHT.get().is_some() {
        return Ok(());
    }
    let failed = |source| Error::action("catch signals", reason(&source));
    let (wake, write) = UnixStream::pair().map_err(failed)?;
    let first = Arc::new(AtomicUsize::new(0));
    for signal in FATAL {
        let value = usize::try_from(signal).unwrap_or(usize::MAX);
        signal_hook::flag::register_usize(signal, Arc::clone(&first), value).map_err(failed)?;
        let write = write.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, write).map_err(failed)?;
    }
    // A second thread that won the race has registered the same; its value stays.
    let _ = CAUGHT.set(Caught { first, wake });
    Ok(())
}

/// The signal that asked for the end of the run, if one did.
pub fn caught() -> Option<i32> {
    match CAUGHT.get()?.first.load(Ordering::SeqCst) {
        0 => None,
        signal => i32::try_from(signal).ok(),
    }
}

/// Ends the caller if a signal came: call it before every step that would publish something.
///
/// # Errors
/// [`Error::interrupted`] if a signal came.
pub fn check() -> Result<()> {
    match caught() {
        Some(signal) => Err(Error::interrupted(signal)),
        None => Ok(()),
    }
}

/// A descriptor that becomes readable with the first signal and stays so; none before [`catch`].
pub fn wake() -> Option<BorrowedFd<'static>> {
    CAUGHT.get().map(|caught| caught.wake.as_fd())
}
