//! Checks of a finished image: a quick one of its tables and some of its blocks, and a thorough one
//! against the source.

mod compare;
mod layout;
mod self_check;

pub use compare::compare;
pub use self_check::self_check;
