//! Where OTP is, and which release.

use std::path::{Path, PathBuf};
use swarmrt_term::Release;

/// An installed OTP.
#[derive(Clone, Debug)]
pub struct Otp {
    pub root: PathBuf,
    pub release: Release,
    /// Such as `25.2.3`, where the installation says.
    pub version: Option<String>,
    /// Such as `13.1.5`.
    pub erts_version: String,
    /// The folder of the preloaded modules.
    pub preloaded: PathBuf,
}

/// Why there is no usable OTP.
#[derive(Debug)]
pub enum OtpError {
    NotFound {
        tried: Vec<PathBuf>,
    },
    /// It is not one, or not a whole one. `release` is what `releases` names, if it does.
    Broken {
        root: PathBuf,
        release: Option<u32>,
        why: String,
    },
    /// A release that SwarmRT does not know.
    Unsupported {
        root: PathBuf,
        release: u32,
    },
}

impl std::fmt::Display for OtpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (oldest, newest) = (Release::OLDEST, Release::NEWEST);
        match self {
            OtpError::NotFound { tried } => {
                writeln!(f, "no Erlang/OTP found; looked in:")?;
                for path in tried {
                    writeln!(f, "  {}", path.display())?;
                }
                write!(
                    f,
                    "Install OTP {oldest} to {newest} (on Debian and Ubuntu: apt-get install \
                     erlang-base), or say where it is with --otp-root or SWARMRT_OTP_ROOT."
                )
            }
            OtpError::Broken { root, release, why } => {
                let name = release.map_or("Erlang/OTP".to_owned(), |found| format!("OTP {found}"));
                write!(
                    f,
                    "the {name} in {} cannot be used: {why}; SwarmRT needs a complete OTP {oldest} \
                     to {newest}",
                    root.display()
                )
            }
            OtpError::Unsupported { root, release } => {
                write!(
                    f,
                    "the Erlang/OTP in {} is release {release}; SwarmRT runs releases {oldest} to {newest}",
                    root.display()
                )
            }
        }
    }
}
impl std::error::Error for OtpError {}

const USUAL_PLACES: [&str; 6] = [
    "/usr/lib/erlang",
    "/usr/local/lib/erlang",
    "/usr/lib64/erlang",
    "/opt/erlang",
    "/opt/homebrew/lib/erlang",
    "/usr/local/opt/erlang/lib/erlang",
];

impl Otp {
    /// Looks where it was told to, else in `SWARMRT_OTP_ROOT`, else in the usual places.
    ///
    /// # Errors
    /// When nothing is found, or what was named is not an OTP.
    pub fn find(told: Option<&Path>) -> Result<Otp, OtpError> {
        if let Some(root) = told {
            return Otp::at(root);
        }
        if let Some(root) = std::env::var_os("SWARMRT_OTP_ROOT") {
            return Otp::at(Path::new(&root));
        }
        let places = USUAL_PLACES.map(PathBuf::from);
        match places.iter().find(|place| place.join("lib").is_dir()) {
            Some(root) => Otp::at(root),
            None => Err(OtpError::NotFound { tried: places.to_vec() }),
        }
    }

    /// The folder of its programs.
    pub fn bindir(&self) -> PathBuf {
        self.root.join(format!("erts-{}/bin", self.erts_version))
    }
    /// What `erl` hands `init` before its own arguments; `program` is the name that it goes by.
    pub fn init_arguments(&self, program: &str) -> Vec<String> {
        let [root, bindir] =
            [&self.root, &self.bindir()].map(|path| path.to_string_lossy().into_owned());
        let home = std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
        ["-root", &root, "-bindir", &bindir, "-progname", program, "--", "-home", &home, "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// The folder of the preloaded modules within that of the programs, in releases that SwarmRT
    /// runs.
    pub const PRELOADED: &str = "preloaded";

    /// The OTP in a release: its libraries are in `root`, its programs in `bindir`. Which OTP it
    /// is, the version of its `erts` folder tells; the preloaded modules are in that, or in the
    /// installation that the programs belong to.
    ///
    /// # Errors
    /// When it is not one.
    pub fn of_release(root: &Path, bindir: &Path) -> Result<Otp, OtpError> {
        if let Ok(otp) = Otp::at(root) {
            return Ok(otp);
        }
        let broken = |why: &str| OtpError::Broken {
            root: root.to_owned(),
            release: None,
            why: why.to_owned(),
        };
        let erts = bindir.parent().ok_or_else(|| broken("it has no erts folder"))?;
        let erts_version = erts.file_name().and_then(|name| name.to_str()?.strip_prefix("erts-"));
        let erts_version =
            erts_version.ok_or_else(|| broken("its erts folder has no version"))?.to_owned();
        let release =
            version_numbers(&erts_version).first().map_or(0, |&major| major + FROM_ERTS_TO_OTP);
        let known = Release::from_number(release)
            .ok_or_else(|| OtpError::Unsupported { root: root.to_owned(), release })?;
        let installed =
            erts.parent().map(|above| above.join(format!("lib/erts-{erts_version}/ebin")));
        let places = [
            Some(bindir.join(Otp::PRELOADED)),
            Some(root.join(format!("lib/erts-{erts_version}/ebin"))),
            installed,
        ];
        let preloaded =
            places.into_iter().flatten().find(|place| place.join("erlang.beam").is_file());
        let preloaded = preloaded.ok_or_else(|| {
            broken("it has no preloaded modules; a release is made under `swarmrt exec`")
        })?;
        Ok(Otp { root: root.to_owned(), release: known, version: None, erts_version, preloaded })
    }

    fn at(root: &Path) -> Result<Otp, OtpError> {
        let release = release_number(root).map_err(|why| OtpError::Broken {
            root: root.to_owned(),
            release: None,
            why,
        })?;
        let known = Release::from_number(release)
            .ok_or_else(|| OtpError::Unsupported { root: root.to_owned(), release })?;
        let broken =
            |why: String| OtpError::Broken { root: root.to_owned(), release: Some(release), why };
        let libraries =
            std::fs::read_dir(root.join("lib")).map_err(|error| broken(format!("lib: {error}")))?;
        let names: Vec<String> = libraries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().map(str::to_owned))
            .collect();
        let erts_version = names
            .iter()
            .filter_map(|name| name.strip_prefix("erts-"))
            .filter(|version| root.join(format!("lib/erts-{version}/ebin/erlang.beam")).is_file())
            .max_by_key(|version| version_numbers(version))
            .ok_or_else(|| {
                broken("it has no lib/erts-*/ebin with the preloaded modules".to_owned())
            })?
            .to_owned();
        for library in ["kernel", "stdlib"] {
            let is_there = names.iter().any(|name| {
                name.strip_prefix(library).is_some_and(|rest| rest.starts_with('-'))
                    && root.join("lib").join(name).join("ebin").is_dir()
            });
            if !is_there {
                return Err(broken(format!("it has no lib/{library}-*/ebin")));
            }
        }
        let preloaded = root.join(format!("lib/erts-{erts_version}/ebin"));
        let version = std::fs::read_to_string(root.join(format!("releases/{release}/OTP_VERSION")))
            .ok()
            .map(|text| text.trim().to_owned());
        Ok(Otp { root: root.to_owned(), release: known, version, erts_version, preloaded })
    }
}

/// The number of an OTP release less the first number of its erts.
const FROM_ERTS_TO_OTP: u32 = 12;

/// The number of the release in a root: what `releases/start_erl.data` starts, where it is a
/// number; else the greatest of the folders.
fn release_number(root: &Path) -> Result<u32, String> {
    let folder = root.join("releases");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("releases: {error}"))?;
    let numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let started = std::fs::read_to_string(folder.join("start_erl.data"))
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse().ok())
        .filter(|number| numbers.contains(number));
    let latest = numbers.iter().copied().max();
    started.or(latest).ok_or_else(|| "it has no releases/NUMBER".to_owned())
}

/// `15.2.7` as numbers, which are ordered as versions are.
fn version_numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root that has just these folders and files.
    fn root(name: &str, files: &[&str]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("swarmrt-otp-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("a temporary folder can be made");
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().expect("inside")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        root
    }

    const WHOLE: [&str; 3] =
        ["lib/erts-15.2.7/ebin/erlang.beam", "lib/kernel-1/ebin/x", "lib/stdlib-1/ebin/x"];

    fn told(name: &str, files: &[&str]) -> Result<Otp, String> {
        let root = root(name, files);
        let found = Otp::at(&root).map_err(|error| error.to_string());
        let _ = std::fs::remove_dir_all(&root);
        found
    }

    #[test]
    fn a_whole_root() {
        let files = [&WHOLE[..], &["releases/27/x", "lib/erts-15.10/ebin/erlang.beam"]].concat();
        let otp = told("whole", &files).expect("usable");
        assert_eq!((otp.release, otp.erts_version.as_str()), (Release::R27, "15.10"));
    }

    #[test]
    fn unusable_roots_say_what_was_found_and_what_is_supported() {
        for (number, file) in [("24", "releases/24/x"), ("30", "releases/30/x")] {
            let why = told(&format!("release-{number}"), &[&WHOLE[..], &[file]].concat())
                .expect_err("unsupported");
            assert!(
                why.contains(&format!("is release {number}")) && why.contains("25 to 29"),
                "{why}"
            );
        }
        for missing in 0..WHOLE.len() {
            let mut files = vec!["releases/27/x", "lib/x"];
            files.extend(
                WHOLE.iter().enumerate().filter(|&(at, _)| at != missing).map(|(_, file)| file),
            );
            let why = told(&format!("half-{missing}"), &files).expect_err("incomplete");
            let library = ["lib/erts", "lib/kernel", "lib/stdlib"][missing];
            assert!(why.contains(library), "{why}");
            assert!(why.contains("OTP 27") && why.contains("25 to 29"), "{why}");
        }
        let why = told("nothing", &["lib/x"]).expect_err("no root");
        assert!(why.contains("releases") && why.contains("25 to 29"), "{why}");
    }
}
