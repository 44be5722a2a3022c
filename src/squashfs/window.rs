//! The window between the readers, which work side by side, and the one place that needs what they
//! read in order.
//!
//! Portions are given out in order and only while there is memory for them, so the one that is waited
//! for is always being read and the readers can never block each other for good.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::load::Loaded;
use super::plan::{PORTION, Plan, Work};
use crate::error::{Error, Result};

/// See the module.
pub(super) struct Window<'a> {
    state: Mutex<State<'a>>,
    /// Signalled when a portion has been taken.
    room: Condvar,
    /// Signalled when the next portion is there.
    ready: Condvar,
    /// How many portions may be read ahead.
    limit: usize,
}

struct State<'a> {
    plan: Plan<'a>,
    loaded: HashMap<u64, Result<Loaded>>,
    given: u64,
    taken: u64,
    all_given: bool,
    is_closed: bool,
    /// Buffers to use again.
    buffers: Vec<Vec<u8>>,
}

impl<'a> Window<'a> {
    pub(super) fn new(plan: Plan<'a>, limit: usize) -> Self {
        let state = State {
            plan,
            loaded: HashMap::new(),
            given: 0,
            taken: 0,
            all_given: false,
            is_closed: false,
            buffers: Vec::new(),
        };
        Self { state: Mutex::new(state), room: Condvar::new(), ready: Condvar::new(), limit }
    }

    /// For a reader: the next portion, its number and a buffer. `None`: there is no more to do.
    pub(super) fn give(&self) -> Option<(u64, Work, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            if state.is_closed || state.all_given {
                return None;
            }
            let ahead = usize::try_from(state.given - state.taken).unwrap_or(usize::MAX);
            if ahead < self.limit {
                break;
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(work) = state.plan.next() else {
            state.all_given = true;
            self.ready.notify_all();
            self.room.notify_all();
            return None;
        };
        let number = state.given;
        state.given += 1;
        Some((number, work, state.buffers.pop().unwrap_or_default()))
    }

    /// For a reader: what became of a portion.
    pub(super) fn put(&self, number: u64, loaded: Result<Loaded>) {
        let mut state = self.lock();
        state.loaded.insert(number, loaded);
        if state.taken == number {
            self.ready.notify_all();
        }
    }

    /// The next portion in order. `None`: that was all.
    pub(super) fn take(&self) -> Option<Result<Loaded>> {
        let mut state = self.lock();
        loop {
            let number = state.taken;
            if let Some(loaded) = state.loaded.remove(&number) {
                state.taken += 1;
                self.room.notify_one();
                return Some(loaded);
            }
            if state.is_closed {
                return Some(Err(Error::said("reading the source stopped unexpectedly")));
            }
            if state.all_given && state.given == state.taken {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes back a buffer that is no longer used, if it is one for portions.
    pub(super) fn reuse(&self, buffer: Vec<u8>) {
        let mut state = self.lock();
        if buffer.capacity() >= PORTION && state.buffers.len() < self.limit {
            state.buffers.push(buffer);
        }
    }

    /// Ends the work of all readers.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.room.notify_all();
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the window when dropped, so that no thread waits for one that has ended, however it ended.
pub(super) struct CloseOnPanic<'a, 'b>(pub(super) &'a Window<'b>);

impl Drop for CloseOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Identity, RegularFile, Version};
    use super::*;

    fn files(count: usize) -> Vec<RegularFile> {
        let file = RegularFile {
            inode: 0,
            identity: Identity { dev: 0, ino: 0 },
            version: Version { size: 1 << 20, mtime: 0, ctime: 0 },
            has_holes: false,
            has_twin: false,
        };
        vec![file; count]
    }

    fn loaded(work: Work) -> Result<Loaded> {
        Ok(Loaded { work, buffer: Vec::new(), parts: Vec::new() })
    }

    #[test]
    fn portions_are_taken_in_order_however_they_arrive() {
        let files = files(3);
        let window = Window::new(Plan::new(&files), 4);
        let given: Vec<_> = (0..3).filter_map(|_| window.give()).collect();
        assert!(window.give().is_none());
        for (number, work, _) in given.into_iter().rev() {
            window.put(number, loaded(work));
        }
        for n in 0..3 {
            assert_eq!(window.take().unwrap().unwrap().work, Work::Batch(n..n + 1));
        }
        assert!(window.take().is_none());
    }

    #[test]
    fn readers_wait_for_room_and_many_get_through_a_narrow_window() {
        let files = files(200);
        let window = Window::new(Plan::new(&files), 2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some((number, work, _)) = window.give() {
                        window.put(number, loaded(work));
                    }
                });
            }
            let mut count = 0;
            while let Some(portion) = window.take() {
                assert_eq!(portion.unwrap().work, Work::Batch(count..count + 1));
                count += 1;
            }
            assert_eq!(count, 200);
        });
    }

    #[test]
    fn a_closed_window_keeps_nobody_waiting() {
        let files = files(3);
        let window = Window::new(Plan::new(&files), 1);
        window.give().unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| window.give().is_none());
            window.close();
            assert!(reader.join().unwrap());
        });
        assert!(window.take().unwrap().is_err());
    }
}
