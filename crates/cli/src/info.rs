//! `swarmrt info`: what there is, and how a start goes.

use crate::erl::{native_counts, show, trial};
use crate::failure::Failure;
use crate::settings;
use serde::Serialize;
use std::path::{Path, PathBuf};
use swarmrt::machine::bif::LINKED_LIBRARIES;
use swarmrt::machine::code::cache::CodeCache;
use swarmrt::{Otp, Processors};

#[derive(Serialize)]
struct Info {
    version: &'static str,
    otp: OtpInfo,
    engines: Vec<Engine>,
    schedulers: Schedulers,
    start: StartInfo,
    code_cache: CacheInfo,
    native_libraries: Libraries,
    builtins: Builtins,
}

#[derive(Serialize)]
struct OtpInfo {
    root: PathBuf,
    /// Such as `25.2.3`, or the release alone where the installation does not say.
    version: String,
    erts: String,
}

#[derive(Serialize)]
struct Engine {
    name: &'static str,
    about: &'static str,
}

const ENGINES: [Engine; 3] = [
    Engine { name: "interp", about: "the interpreter alone" },
    Engine { name: "jit", about: "all code native when loaded" },
    Engine { name: "tiered", about: "native when hot; the default" },
];

/// Without flags.
#[derive(Serialize)]
struct Schedulers {
    total: usize,
    online: usize,
    /// Processors' time that the container may use.
    cpu_quota: Option<usize>,
}

#[derive(Serialize)]
struct StartInfo {
    milliseconds: Option<u128>,
    /// Why there is no start.
    error: Option<String>,
    native: String,
}

#[derive(Serialize)]
struct CacheInfo {
    folder: Option<PathBuf>,
    /// Why the folder is not used.
    error: Option<String>,
    /// Of all builds.
    files: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Libraries {
    /// Of the C interface, such as `2.16`.
    erl_nif: String,
    loaded: Vec<Library>,
    part_of_the_machine: Vec<&'static str>,
}

#[derive(Serialize)]
struct Library {
    module: String,
    path: String,
}

#[derive(Serialize)]
struct Builtins {
    of_otp: usize,
    missing: Vec<String>,
}

pub fn info(json: bool) -> Result<i32, Failure> {
    let info = Info::gather()?;
    if json {
        let text = serde_json::to_string_pretty(&info).map_err(|error| format!("info: {error}"))?;
        show(&(text + "\n"));
    } else {
        show(&(info.lines().join("\n") + "\n"));
    }
    Ok(0)
}

impl Info {
    fn gather() -> Result<Info, Failure> {
        let otp = Otp::find(None)?;
        let unreadable = |error| Failure::new(format!("{}: {error}", otp.root.display()));
        let builtins = swarmrt::coverage::builtins(&otp).map_err(unreadable)?;
        let of_otp = builtins.len();
        let missing = builtins
            .into_iter()
            .filter(|builtin| !builtin.exists)
            .map(|builtin| builtin.name)
            .collect();
        let version = otp.version.clone().unwrap_or_else(|| otp.release.to_string());
        let about_otp = OtpInfo { root: otp.root.clone(), version, erts: otp.erts_version.clone() };
        let (milliseconds, native, error) = match trial(otp) {
            Ok(trial) => (Some(trial.milliseconds), trial.native, None),
            Err(why) => (None, None, Some(why)),
        };
        Ok(Info {
            version: env!("CARGO_PKG_VERSION"),
            otp: about_otp,
            engines: ENGINES.into(),
            schedulers: Schedulers::gather(),
            start: StartInfo { milliseconds, error, native: native_counts(native) },
            code_cache: CacheInfo::gather(),
            native_libraries: Libraries::gather(),
            builtins: Builtins { of_otp, missing },
        })
    }

    fn lines(&self) -> Vec<String> {
        let Info { otp, start, builtins, .. } = self;
        let engines: Vec<String> = self
            .engines
            .iter()
            .map(|engine| format!("{} ({})", engine.name, engine.about))
            .collect();
        let start = match (&start.error, start.milliseconds) {
            (None, Some(milliseconds)) => format!("{milliseconds} ms; {}", start.native),
            (error, _) => error.clone().unwrap_or_default(),
        };
        let exist = builtins.of_otp - builtins.missing.len();
        let mut lines = vec![
            format!("swarmrt {}", self.version),
            format!("OTP root:    {}", otp.root.display()),
            format!("OTP release: {} (erts {})", otp.version, otp.erts),
            format!("engines:     {}", engines.join(", ")),
            format!("schedulers:  {}", self.schedulers.line()),
            format!("a start:     {start}"),
            format!("code cache:  {}", self.code_cache.line()),
            format!("native libs: {}", self.native_libraries.line()),
            format!("built-ins:   {exist} of OTP's {} exist; missing:", builtins.of_otp),
        ];
        lines.extend(builtins.missing.iter().map(|name| format!("  {name}")));
        lines
    }
}

impl Schedulers {
    fn gather() -> Schedulers {
        let processors = Processors::of_system();
        Schedulers {
            total: processors.schedulers(),
            online: processors.schedulers_online(),
            cpu_quota: processors.quota,
        }
    }

    fn line(&self) -> String {
        let online = if self.online == self.total {
            String::new()
        } else {
            format!(" ({} of them online)", self.online)
        };
        format!("{}{online}", self.total)
    }
}

impl Libraries {
    /// The native libraries that a start has loaded, and those that are part of the machine.
    fn gather() -> Libraries {
        let (major, minor) = swarmrt::nif::VERSION;
        let loaded = swarmrt::nif::libraries().into_iter();
        Libraries {
            erl_nif: format!("{major}.{minor}"),
            loaded: loaded
                .map(|(module, path)| Library { module: module.clone(), path: path.clone() })
                .collect(),
            part_of_the_machine: LINKED_LIBRARIES.to_vec(),
        }
    }

    fn line(&self) -> String {
        let loaded: Vec<String> = self
            .loaded
            .iter()
            .map(|library| format!("{} ({})", library.module, library.path))
            .collect();
        let loaded =
            if loaded.is_empty() { "none from files".to_owned() } else { loaded.join(", ") };
        let linked = self.part_of_the_machine.join(", ");
        format!(
            "erl_nif {}; loaded at a start: {loaded}; part of the machine: {linked}",
            self.erl_nif
        )
    }
}

impl CacheInfo {
    /// Where code is cached, and how much of it.
    fn gather() -> CacheInfo {
        let Some(folder) = settings::code_cache() else {
            return CacheInfo { folder: None, error: None, files: 0, bytes: 0 };
        };
        if let Err(why) = CodeCache::check(&folder) {
            return CacheInfo {
                folder: Some(folder),
                error: Some(why.to_string()),
                files: 0,
                bytes: 0,
            };
        }
        let entries = |path: &Path| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
                .collect::<Vec<_>>()
        };
        let files = entries(&folder).into_iter().flat_map(|(build, _)| entries(&build));
        let (files, bytes) =
            files.fold((0, 0), |(files, bytes), (_, file)| (files + 1, bytes + file.len()));
        CacheInfo { folder: Some(folder), error: None, files, bytes }
    }

    fn line(&self) -> String {
        match (&self.folder, &self.error) {
            (None, _) => "none".to_owned(),
            (Some(folder), Some(why)) => {
                format!("none, as {} cannot be used: {why}", folder.display())
            }
            (Some(folder), None) => format!(
                "{} ({} files, {} bytes; of all builds)",
                folder.display(),
                self.files,
                self.bytes
            ),
        }
    }
}
