//! What kernels and their ramdisks are called: the ground that [`crate::kernel`] and [`crate::cleanup`] share.
//!
//! A root's own [`assignments`] (`update-kernels.conf`) say it in the language of [`sed`], the [`naming`]
//! finds kernels by them, and [`version_sort`] the newest.

pub mod assignments;
pub mod naming;
pub mod sed;
pub mod version_sort;
