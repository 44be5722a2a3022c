//! What some cases have on their machine besides files: a network interface, /tmp on a disk, partitions on
//! loop devices.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ltsp_core::error::{During, Result};
use rustix::mount::{UnmountFlags, unmount};

use crate::machine::STAGE;
use crate::setup::{Network, Setup};
use crate::world::tool;

/// Bytes of the file system for /tmp.
const TMP: u64 = 64 << 20;

/// Equips the machine, before any file of the setup.
///
/// # Errors
/// Something cannot be made.
pub fn equip(setup: &Setup) -> Result<()> {
    if let Some(interface) = setup.network.as_ref().and_then(Network::interface) {
        connect(&interface)?;
    }
    if setup.tmp.is_some() {
        tmp_on_disk()?;
    }
    if setup.partition_scan {
        scan_partitions()?;
    }
    Ok(())
}

/// The one network interface that is up.
pub struct Interface {
    pub mac: String,
    pub ip: String,
    pub gateway: Option<String>,
}

fn connect(interface: &Interface) -> Result<()> {
    let ip = |line: &str| tool(Command::new("ip").args(line.split(' ')));
    ip(&format!("link add eth0 address {} type veth peer name elsewhere", interface.mac))?;
    ip("link set eth0 up")?;
    ip("link set elsewhere up")?;
    ip(&format!("address add {}/24 dev eth0", interface.ip))?;
    match &interface.gateway {
        Some(gateway) => ip(&format!("route add default via {gateway}")),
        None => Ok(()),
    }
}

fn tmp_on_disk() -> Result<()> {
    unmount("/tmp", UnmountFlags::empty()).during("unmount", "/tmp")?;
    let image = Path::new(STAGE).join("tmp");
    let file = fs::File::create(&image).during("create", &image)?;
    file.set_len(TMP).during("extend", &image)?;
    tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
    tool(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&image).arg("/tmp"))?;
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).during("chmod", "/tmp")
}

/// Puts a `losetup` in the place of the real one whose `-P` also works where the kernel knows no partition
/// tables and nobody makes nodes for partitions.
///
/// The original asks for a free device first and attaches the file to it afterwards. Meanwhile any program on
/// this computer may have taken that device, so the names that this `losetup` offers as free exist on this
/// machine only, and become links to the device that the kernel allots when the file is attached.
fn scan_partitions() -> Result<()> {
    let losetup = Path::new("/usr/sbin/losetup");
    let real = Path::new(STAGE).join("losetup");
    fs::copy(losetup, &real).during("copy", losetup)?;
    fs::remove_file(losetup).during("remove", losetup)?;
    fs::write(losetup, LOSETUP.replace("@REAL@", &real.to_string_lossy())).during("write", losetup)?;
    fs::set_permissions(losetup, fs::Permissions::from_mode(0o755)).during("chmod", losetup)
}

const LOSETUP: &str = r#"#!/bin/sh
if [ "$*" = -f ]; then
    number=1000
    while [ -L "/dev/loop$number" ]; do number=$((number + 1)); done
    echo "/dev/loop$number"
    exit
fi
for word; do
    case $word in
        --*) ;;
        -*P*) scan=yes ;;
        -*d*) scan=no ;;
        /dev/loop????) offered=$word ;;
        /dev/loop*) device=$word ;;
        *) file=$word ;;
    esac
done
if [ -n "$offered" ] && [ "$scan" = yes ]; then
    device=$(@REAL@ --find --show --read-only --partscan "$file") || exit
    ln -s "${device##*/}" "$offered"
elif [ -n "$offered" ]; then
    @REAL@ -d "$(readlink -f "$offered")" || exit
    rm -f "$offered" "$offered"p*
    exit
else
    @REAL@ "$@" || exit
fi
[ -n "$scan" ] && [ -n "$device" ] || exit 0
shown=${offered:-$device}
rm -f "$shown"p*
[ "$scan" = yes ] || exit 0
name=${device##*/}
# Fails where the kernel has found them itself.
partx -a "$device" 2>/dev/null
for partition in "/sys/block/$name/$name"p*; do
    [ ! -e "$partition/dev" ] || mknod "$shown${partition#"/sys/block/$name/$name"}" b $(tr : ' ' <"$partition/dev")
done
"#;
