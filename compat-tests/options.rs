//! The runner's command line.

use std::path::PathBuf;

use crate::case::Standard;

pub const HELP: &str = "\
Runs the recorded cases, each on a throw-away machine of its own. Needs root.

usage: cargo test --test compat -- [OPTION...] [FILTER...]

  FILTER            only the cases whose name contains one of these texts
  --list            print the names of the cases, run nothing
  --show            print what the cases show, each as one line of JSON, and judge nothing
  --jobs N          run N cases at a time (default: one per processor)
  --original        compare with what the original did, where a case records that
  -h, --help        print this text

environment:
  LTSP_COMPAT_PROGRAMS   a directory that is laid over the machine's root in place of the built binary
  LTSP_TEST_CACHE        where root file systems are kept (default: /var/cache/ltsp-image-tools-tests)
";

/// What is to be done.
pub struct Options {
    pub filters: Vec<String>,
    pub list: bool,
    pub show: bool,
    pub help: bool,
    pub jobs: usize,
    pub standard: Standard,
    pub programs: Option<PathBuf>,
    pub cache: PathBuf,
}

impl Options {
    /// # Errors
    /// An argument that this runner does not know.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut options = Self {
            filters: Vec::new(),
            list: false,
            show: false,
            help: false,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            standard: Standard::Replacement,
            programs: variable("LTSP_COMPAT_PROGRAMS"),
            cache: variable("LTSP_TEST_CACHE")
                .unwrap_or_else(|| PathBuf::from("/var/cache/ltsp-image-tools-tests")),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => options.list = true,
                "--show" => options.show = true,
                "--original" => options.standard = Standard::Original,
                "-h" | "--help" => options.help = true,
                // The second name is what cargo's users know from other tests.
                "--jobs" | "--test-threads" => {
                    let number = arguments.next().and_then(|text| text.parse().ok());
                    options.jobs = number
                        .filter(|jobs| *jobs > 0)
                        .ok_or_else(|| format!("{argument} needs a number"))?;
                }
                // `cargo test -q` and `cargo test -- --nocapture` hand these to every test target.
                "-q" | "--quiet" | "--nocapture" | "--show-output" => {}
                option if option.starts_with('-') => return Err(format!("unknown option {option}")),
                filter => options.filters.push(filter.to_owned()),
            }
        }
        Ok(options)
    }
}
