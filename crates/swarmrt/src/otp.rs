//! Where OTP is, and which release.

use std::path::{Path, PathBuf};

/// An installed OTP.
#[derive(Clone, Debug)]
pub struct Otp {
    pub root: PathBuf,
    /// Such as `25`.
    pub release: String,
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
    NotFound { tried: Vec<PathBuf> },
    Broken { root: PathBuf, why: String },
}

impl std::fmt::Display for OtpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OtpError::NotFound { tried } => {
                writeln!(f, "no Erlang/OTP found; looked in:")?;
                for path in tried {
                    writeln!(f, "  {}", path.display())?;
                }
                write!(f, "Install it (on Debian and Ubuntu: apt-get install erlang-base), or say where it is with --otp-root or SWARMRT_OTP_ROOT.")
            }
            OtpError::Broken { root, why } => write!(f, "the Erlang/OTP in {} cannot be used: {why}", root.display()),
        }
    }
}
impl std::error::Error for OtpError {}

const USUAL_PLACES: [&str; 6] =
    ["/usr/lib/erlang", "/usr/local/lib/erlang", "/usr/lib64/erlang", "/opt/erlang", "/opt/homebrew/lib/erlang", "/usr/local/opt/erlang/lib/erlang"];

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

    fn at(root: &Path) -> Result<Otp, OtpError> {
        let broken = |why: &str| OtpError::Broken { root: root.to_owned(), why: why.to_owned() };
        let libraries = std::fs::read_dir(root.join("lib")).map_err(|error| broken(&format!("lib: {error}")))?;
        let mut erts: Vec<String> = libraries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("erts-").map(str::to_owned))
            .filter(|version| root.join(format!("lib/erts-{version}/ebin/erlang.beam")).is_file())
            .collect();
        erts.sort();
        let erts_version = erts.pop().ok_or_else(|| broken("it has no lib/erts-*/ebin with the preloaded modules"))?;
        let preloaded = root.join(format!("lib/erts-{erts_version}/ebin"));
        let mut releases: Vec<u32> = std::fs::read_dir(root.join("releases"))
            .map_err(|error| broken(&format!("releases: {error}")))?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        releases.sort_unstable();
        let release = releases.pop().ok_or_else(|| broken("it has no releases/NUMBER"))?.to_string();
        let version = std::fs::read_to_string(root.join(format!("releases/{release}/OTP_VERSION"))).ok().map(|text| text.trim().to_owned());
        Ok(Otp { root: root.to_owned(), release, version, erts_version, preloaded })
    }
}
