//! The directories that the walk still has to visit, and threads that list them before it gets there:
//! all processors are busy while the files are found, and several requests reach a disk at once.
//!
//! The walk takes directories from the top of a stack and puts their subdirectories there. The threads
//! take them some way below the top, and what nobody has begun when its turn comes, the walk lists
//! itself: so it hardly ever has to wait, which takes longer than listing a directory.

use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::lister::{Lister, Listing};

/// Listings that may wait for the walk: each keeps a directory open and takes some memory.
const MOST: usize = 64;
/// How far below the top the threads look for work.
const REACH: usize = 24;

/// See the module.
#[derive(Default)]
pub(super) struct Ahead {
    state: Mutex<State>,
    /// There is work for the threads, or it is over.
    work: Condvar,
    /// What was under way is listed.
    listed: Condvar,
}

#[derive(Default)]
struct State {
    stack: Vec<Pending>,
    /// Number of directories on the stack that are listed, or being listed.
    listed: usize,
    /// Number of threads that wait for work.
    idle: usize,
    is_closed: bool,
}

/// A directory to visit.
pub(super) struct Pending {
    pub(super) inode: u32,
    /// `None`: it stays empty.
    pub(super) path: Option<PathBuf>,
    listing: Stage,
}

enum Stage {
    Waiting,
    UnderWay,
    Listed(io::Result<Listing>),
}

impl Pending {
    pub(super) fn new(inode: u32, path: Option<PathBuf>) -> Self {
        Self { inode, path, listing: Stage::Waiting }
    }

    /// What was found ahead of the walk.
    pub(super) fn listed(&mut self) -> Option<io::Result<Listing>> {
        match std::mem::replace(&mut self.listing, Stage::Waiting) {
            Stage::Listed(listing) => Some(listing),
            Stage::Waiting | Stage::UnderWay => None,
        }
    }
}

impl Ahead {
    /// Puts directories on the stack, the first one on top.
    pub(super) fn push(&self, directories: Vec<Pending>) {
        let mut state = self.state();
        state.stack.extend(directories.into_iter().rev());
        self.wake(&state);
    }

    /// Takes the directory on top, when nobody is listing it any more.
    pub(super) fn pop(&self) -> Option<Pending> {
        let mut state = self.state();
        while matches!(state.stack.last()?.listing, Stage::UnderWay) && !state.is_closed {
            state = self.listed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let top = state.stack.pop()?;
        if matches!(top.listing, Stage::Listed(_)) {
            state.listed -= 1;
            self.wake(&state);
        }
        Some(top)
    }

    /// One thread's work: lists what comes later, until the walk is over.
    pub(super) fn work(&self, lister: &mut Lister<'_>) {
        let _close = CloseOnPanic(self);
        let mut state = self.state();
        while !state.is_closed {
            let Some((place, path)) = state.choose() else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            drop(state);
            let listing = lister.list(&path);
            state = self.state();
            // It is still there: the walk waits for what is under way.
            let is_top = place + 1 == state.stack.len();
            if let Some(directory) = state.stack.get_mut(place) {
                directory.listing = Stage::Listed(listing);
            }
            if is_top {
                self.listed.notify_one();
            }
        }
    }

    /// Lets the threads come to an end.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.work.notify_all();
        self.listed.notify_all();
    }

    fn wake(&self, state: &State) {
        if state.idle > 0 && state.listed < MOST {
            self.work.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The farthest directory within reach that nobody has begun. Its place on the stack does not
    /// change until it is taken from the top.
    fn choose(&mut self) -> Option<(usize, PathBuf)> {
        if self.listed >= MOST {
            return None;
        }
        let start = self.stack.len().saturating_sub(REACH);
        let (place, directory, path) =
            self.stack.iter_mut().enumerate().skip(start).find_map(|(place, directory)| {
                match (&directory.listing, directory.path.clone()) {
                    (Stage::Waiting, Some(path)) => Some((place, directory, path)),
                    _ => None,
                }
            })?;
        directory.listing = Stage::UnderWay;
        self.listed += 1;
        Some((place, path))
    }
}

/// Keeps the walk from waiting for a thread that is gone.
struct CloseOnPanic<'a>(&'a Ahead);

impl Drop for CloseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;
    use crate::excludes::Excludes;
    use std::fs;
    use std::path::Path;

    #[test]
    fn what_a_thread_has_listed_is_there_when_the_walk_gets_there() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..REACH).map(|number| format!("{number:02}")).collect();
        names.iter().for_each(|name| fs::create_dir(folder.path().join(name)).unwrap());
        let source = Source::open(folder.path()).unwrap();
        let ahead = Ahead::default();
        ahead.push((0..).zip(&names).map(|(inode, name)| Pending::new(inode, Some(name.into()))).collect());
        std::thread::scope(|scope| {
            scope.spawn(|| ahead.work(&mut Lister::new(&source, &Excludes::default(), true)));
            while ahead.state().listed < REACH || ahead.state().idle == 0 {
                std::thread::yield_now();
            }
            let mut found = Vec::new();
            while let Some(mut next) = ahead.pop() {
                assert!(next.listed().is_some_and(|listing| listing.is_ok()));
                found.push(next.path.unwrap());
            }
            assert_eq!(found, names.iter().map(PathBuf::from).collect::<Vec<_>>());
            assert_eq!(ahead.state().listed, 0);
            ahead.close();
        });
    }

    #[test]
    fn what_nobody_has_begun_is_left_to_the_walk() {
        let ahead = Ahead::default();
        ahead.push(vec![Pending::new(1, Some("a".into())), Pending::new(2, None)]);
        let mut first = ahead.pop().unwrap();
        assert_eq!((first.inode, first.path.as_deref()), (1, Some(Path::new("a"))));
        assert!(first.listed().is_none());
        assert_eq!(ahead.pop().unwrap().inode, 2);
        assert!(ahead.pop().is_none());
    }

    #[test]
    fn the_threads_keep_within_their_limit_and_skip_what_stays_empty() {
        let mut state = State::default();
        state.stack.extend((0..4).map(|inode| Pending::new(inode, (inode != 1).then(PathBuf::new))));
        let places: Vec<usize> = std::iter::from_fn(|| state.choose()).map(|(place, _)| place).collect();
        assert_eq!(places, [0, 2, 3]);
        state.stack.push(Pending::new(9, Some(PathBuf::new())));
        state.listed = MOST;
        assert!(state.choose().is_none());
    }
}
