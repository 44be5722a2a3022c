//! The time of day where this machine is.
#![allow(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

/// `HH:MM:SS.nnnnnnnnn`, as `date +%T.%N` has it.
pub fn time_of_day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = libc::time_t::try_from(now.as_secs()).unwrap_or(0);
    // SAFETY: all bytes zero is a valid value of this struct of numbers and a pointer that is not read.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that outlive the call, which keeps neither.
    let known = !unsafe { libc::localtime_r(&raw const seconds, &raw mut local) }.is_null();
    if !known {
        local.tm_hour = i32::try_from(now.as_secs() / 3600 % 24).unwrap_or(0);
    }
    format!("{:02}:{:02}:{:02}.{:09}", local.tm_hour, local.tm_min, local.tm_sec, now.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_date_says() {
        // Once more if a second has passed between the two.
        let same = (0..3).any(|_| {
            let output = std::process::Command::new("date").arg("+%T").output().unwrap();
            time_of_day().starts_with(String::from_utf8(output.stdout).unwrap().trim())
        });
        assert!(same);
    }
}
