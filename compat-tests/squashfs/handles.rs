//! The export table as the kernel uses it: an NFS server opens files by handles that hold no more than
//! the number of an inode, long after it made them.
#![allow(unsafe_code)] // Neither the standard library nor rustix has these two system calls.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ltsp_core::squashfs::WriteOptions;

use crate::forest::grow;
use crate::image::Workshop;

/// `struct file_handle` of open_by_handle_at(2), with room for the longest handle.
#[repr(C)]
#[derive(Clone)]
struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; 128],
}

fn handle(path: &Path) -> io::Result<Handle> {
    let mut handle = Handle { length: 128, kind: 0, bytes: [0; 128] };
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut mount = 0_i32;
    // SAFETY: the path ends in a zero byte, the handle has as much room as it says, and the kernel writes an
    // int to `mount`; all of them outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw mut handle,
            &raw mut mount,
            0,
        )
    };
    if result == 0 { Ok(handle) } else { Err(io::Error::last_os_error()) }
}

fn open(mount: &File, handle: &Handle) -> io::Result<OwnedFd> {
    let mut handle = handle.clone();
    // SAFETY: the handle is one that the kernel filled in, and outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw mut handle, libc::O_PATH)
    };
    match RawFd::try_from(result) {
        // SAFETY: a new descriptor, which nobody else knows of.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The directory itself, for calls that want any file of a mount.
fn any_file(mounted: &Path) -> File {
    File::options().read(true).custom_flags(libc::O_DIRECTORY).open(mounted).unwrap()
}

fn paths(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn a_file_is_found_by_its_handle_after_the_image_was_mounted_anew() {
    let workshop = Workshop::new();
    // More inodes than two blocks of the export table hold, 1,024 each, and every kind of file.
    for seed in 3_000_000..3_000_012 {
        let tree = workshop.source().join(seed.to_string());
        fs::create_dir(&tree).unwrap();
        grow(seed, &tree);
    }
    for n in 0..2100 {
        File::create(workshop.source().join(format!("file {n}"))).unwrap();
    }
    workshop.write(&WriteOptions::default());
    let (mounted, mount) = workshop.mount();
    let handles: Vec<_> = paths(&mounted).into_iter().map(|path| (handle(&path).unwrap(), path)).collect();
    assert!(handles.len() > 2 * 1024, "{}", handles.len());
    drop(mount);

    // Nothing is known of the image any more, so that only the table leads from a number to an inode. From the
    // end, as directories come before what is in them and would bring it along.
    let (mounted, _mount) = workshop.mount();
    let root = any_file(&mounted);
    let found: Vec<_> = handles
        .iter()
        .rev()
        .map(|(handle, path)| (path, File::from(open(&root, handle).unwrap()).metadata().unwrap()))
        .collect();
    for (path, metadata) in found {
        let expected = path.symlink_metadata().unwrap();
        let facts = |metadata: &fs::Metadata| {
            (
                metadata.ino(),
                metadata.mode(),
                metadata.uid(),
                metadata.mtime(),
                metadata.len(),
                metadata.rdev(),
            )
        };
        assert_eq!(facts(&metadata), facts(&expected), "{path:?}");
    }
}

#[test]
fn without_an_export_table_there_are_no_handles_to_open() {
    let workshop = Workshop::new();
    fs::write(workshop.source().join("file"), "x").unwrap();
    workshop.write(&WriteOptions { exportable: true, ..WriteOptions::default() });
    let (mounted, mount) = workshop.mount();
    let known = handle(&mounted.join("file")).unwrap();
    assert!(open(&any_file(&mounted), &known).is_ok());
    drop(mount);

    workshop.write(&WriteOptions { exportable: false, ..WriteOptions::default() });
    let (mounted, _mount) = workshop.mount();
    assert!(open(&any_file(&mounted), &known).is_err());
}
