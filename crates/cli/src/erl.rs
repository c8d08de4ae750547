//! From `erl`'s command line to a running machine.

use crate::failure::{Failure, tell};
use crate::{emulator, epmd, root, settings};
use std::io::Write;
use std::path::PathBuf;
use swarmrt::engine::Counts;
use swarmrt::{Builder, Engines, Interrupt, Machine, Otp};

/// What `erl`'s arguments say.
#[derive(Default)]
struct Parsed {
    otp_root: Option<PathBuf>,
    boot_args: Vec<String>,
    /// Emulator flags that built-ins answer questions about.
    flags: Vec<(String, String)>,
    /// `+S` or `+SP`, and its value.
    schedulers: Option<(&'static str, String)>,
    processes: Option<usize>,
    ports: Option<usize>,
    interrupt: Option<Interrupt>,
    dirty_io: Option<usize>,
    atoms: Option<usize>,
    /// Only the version is wanted.
    version: bool,
    /// Leave the terminal and whoever waits, and run on.
    detached: bool,
}

impl Parsed {
    /// Notes what an emulator flag says. Others are in order, and have nothing to say to this
    /// machine.
    fn take(&mut self, flag: &emulator::Flag) {
        match flag.name {
            "+S" | "+SP" => self.schedulers = Some((flag.name, flag.value.to_owned())),
            "+P" => self.processes = Some(flag.number()),
            // As `+Bc`: there is no shell's job to interrupt without a terminal.
            "+B" => {
                self.interrupt = Some(match flag.value {
                    "i" => Interrupt::Ignore,
                    _ => Interrupt::End,
                });
            }
            "+Q" => self.ports = Some(flag.number()),
            "+SDio" => self.dirty_io = Some(flag.number()),
            "+t" => self.atoms = Some(flag.number()),
            "+V" => self.version = true,
            // Asked for by flag, and answered by the machine.
            "+C" | "+c" | "+D" | "+Dibpl" | "+pad" | "+pc" | "+W" | "+zhft" | "+zdbbl"
            | "+hmqd" | "+hms" | "+hmbs" | "+hmax" | "+hmaxk" | "+hmaxel" | "+hmaxib" => {
                self.flags.push((flag.name.to_owned(), flag.value.to_owned()));
            }
            _ => {}
        }
    }
}

/// The words of an `-args_file` or an `ERL_…FLAGS` variable: quotes hold words together, `\` takes
/// away a meaning.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            (_, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => drop(letters.by_ref().find(|&letter| letter == '\n')),
            (_, None) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The arguments with those that the environment adds to each `erl`.
fn with_environment(arguments: &[String]) -> Vec<String> {
    let words_of = |name: &str| std::env::var(name).map(|text| words(&text)).unwrap_or_default();
    let extra = arguments
        .iter()
        .position(|argument| argument == "-extra" || argument == "-S")
        .unwrap_or(arguments.len());
    [
        words_of("ERL_AFLAGS"),
        arguments[..extra].to_vec(),
        words_of("ERL_FLAGS"),
        words_of("ERL_ZFLAGS"),
        arguments[extra..].to_vec(),
    ]
    .concat()
}

/// Takes the emulator's flags out of `erl`'s arguments; the rest is for `init`.
fn parse(arguments: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    parse_into(&mut parsed, arguments)?;
    Ok(parsed)
}

/// Adds to what other arguments have said.
fn parse_into(parsed: &mut Parsed, arguments: &[String]) -> Result<(), String> {
    let mut at = 0;
    while at < arguments.len() {
        let argument = &arguments[at];
        at += 1;
        match argument.as_str() {
            // What follows is the program's alone. (`-S` is of OTP 27 and later.)
            "-extra" | "-S" => {
                parsed.boot_args.extend(arguments[at - 1..].iter().cloned());
                return Ok(());
            }
            "-env" => {
                let (Some(name), Some(value)) = (arguments.get(at), arguments.get(at + 1)) else {
                    return Err("-env needs a name and a value".to_owned());
                };
                // SAFETY: no other thread runs yet.
                unsafe { std::env::set_var(name, value) };
                at += 2;
            }
            // Without input there is no shell either.
            "-noinput" => parsed.boot_args.extend(["-noshell", "-noinput"].map(str::to_owned)),
            // Which build of the runtime to use: there is one here.
            "-smp" | "-emu_type" | "-emu_flavor" => {
                at += usize::from(
                    arguments.get(at).is_some_and(|value| !value.starts_with(['-', '+'])),
                );
            }
            "-args_file" => {
                let file = arguments.get(at).ok_or("-args_file needs a file")?;
                at += 1;
                let text =
                    std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                parse_into(parsed, &words(&text))?;
            }
            "--otp-root" => {
                parsed.otp_root =
                    Some(arguments.get(at).ok_or("--otp-root needs a folder")?.into());
                at += 1;
            }
            "-version" => parsed.version = true,
            "-detached" => {
                parsed.detached = true;
                parsed.boot_args.extend(["-noshell", "-noinput"].map(str::to_owned));
            }
            "-make" => parsed.boot_args.extend(
                ["-noshell", "-noinput", "-s", "make", "all", "-s", "erlang", "halt"]
                    .map(str::to_owned),
            ),
            _ if argument.starts_with('+') => {
                let flag = emulator::flag(&arguments[at - 1..])?;
                at += flag.taken - 1;
                parsed.take(&flag);
            }
            _ => parsed.boot_args.push(argument.clone()),
        }
    }
    Ok(())
}

/// Boots with `erl`'s arguments; the exit code of the run.
pub fn erl(program: &str, arguments: &[String]) -> Result<i32, Failure> {
    let parsed = parse(&with_environment(arguments)).map_err(flag_failure)?;
    let otp = Otp::find(parsed.otp_root.as_deref())?;
    if parsed.version {
        let (ours, erts) = (env!("CARGO_PKG_VERSION"), &otp.erts_version);
        show(&format!("SwarmRT {ours} (SMP) (BEAM) emulator version {erts}\n"));
        return Ok(0);
    }
    if parsed.detached {
        detach().map_err(|error| format!("-detached: {error}"))?;
    }
    Ok(run_to_end(boot(program, parsed, otp).map_err(no_start)?))
}

/// What a trial run told.
pub struct Trial {
    pub milliseconds: u128,
    /// What machine code was made; `None` without a native engine.
    pub native: Option<Counts>,
}

/// Boots and halts at once, with the engines that are asked for.
///
/// # Errors
/// Why there is no start, or the exit code that it ended with.
pub fn trial(otp: Otp) -> Result<Trial, String> {
    let started = std::time::Instant::now();
    let arguments = ["-noshell", "-noinput", "-eval", "erlang:halt(0)."].map(str::to_owned);
    let machine = parse(&arguments)
        .and_then(|parsed| boot("erl", parsed, otp))
        .map_err(|why| format!("fails: {why}"))?;
    match machine.wait() {
        0 => Ok(Trial {
            milliseconds: started.elapsed().as_millis(),
            native: machine.machine_code(),
        }),
        code => Err(format!("ends with {code}")),
    }
}

fn flag_failure(why: String) -> Failure {
    Failure::new(why).next("the flags are those of OTP's `erl` (man erl)")
}

fn no_start(why: String) -> Failure {
    let next = "swarmrt doctor checks what a start needs, swarmrt --help lists the options";
    Failure::new(why).next(next)
}

/// Goes on in a process of its own session without a terminal; the one that was started ends.
fn detach() -> std::io::Result<()> {
    for _ in 0..2 {
        // SAFETY: no other thread runs yet, so the child may do everything.
        match unsafe { libc::fork() } {
            0 => {}
            -1 => return Err(std::io::Error::last_os_error()),
            _ => std::process::exit(0),
        }
        // SAFETY: the call has no conditions. The second time it fails, as that child leads no
        // group: it can never get a terminal again.
        unsafe { libc::setsid() };
    }
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for descriptor in 0..=2 {
        // SAFETY: both descriptors are open, and nobody uses the one that is replaced.
        unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), descriptor) };
    }
    Ok(())
}

/// Runs as the emulator that OTP's `erlexec` starts.
pub fn emulator(arguments: &[String]) -> Result<i32, Failure> {
    let (flags, boot_args) = root::emulator_arguments(arguments);
    let mut parsed = parse(&flags).map_err(flag_failure)?;
    let argument = |flag: &str| root::argument_of(&boot_args, flag).map(PathBuf::from);
    let place = |flag: &str| argument(flag).ok_or_else(|| format!("{flag} is missing"));
    let otp = Otp::of_release(&place("-root")?, &place("-bindir")?)?;
    parsed.boot_args = boot_args;
    Ok(run_to_end(start(parsed, otp).map_err(no_start)?))
}

fn run_to_end(machine: Machine) -> i32 {
    let code = machine.wait();
    // What cannot be kept is found out again.
    let _ = machine.keep();
    if std::env::var_os(settings::STATS).is_some() {
        tell(&native_counts(machine.machine_code()));
    }
    code
}

/// What the native engine has done.
pub fn native_counts(counts: Option<Counts>) -> String {
    counts.map_or("no native engine".to_owned(), |counts| format!("native engine: {counts}"))
}

/// Boots with the arguments that `erl` gives `init` before those of its own.
fn boot(program: &str, mut parsed: Parsed, otp: Otp) -> Result<Machine, String> {
    let root = otp.root.to_string_lossy().into_owned();
    let bin = otp.bindir().to_string_lossy().into_owned();
    for (name, value) in [
        ("ROOTDIR", root.as_str()),
        ("BINDIR", bin.as_str()),
        ("PROGNAME", program),
        ("EMU", "beam"),
    ] {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(name, value) };
    }
    // Programs of OTP's own are found, such as `heart`.
    let path = std::env::var("PATH").unwrap_or_default();
    if !path.split(':').any(|folder| folder == bin) {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("PATH", format!("{bin}:{root}/bin:{path}")) };
    }
    let mut boot_args = otp.init_arguments(program);
    boot_args.append(&mut parsed.boot_args);
    epmd::prepare(&mut boot_args);
    parsed.boot_args = boot_args;
    start(parsed, otp)
}

/// What happens on a signal whose effect without a handler is the end.
extern "C" fn ignore(_signal: i32) {}

/// A file that would become larger than `RLIMIT_FSIZE` allows is an error of the write (`EFBIG`),
/// not the end: caches and machine code can be done without. A handler, unlike `SIG_IGN`, is not
/// inherited by programs that are started.
fn survive_file_limits() {
    // SAFETY: the structure is filled as `sigaction` wants it; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut());
    }
}

/// Boots with `init`'s arguments.
fn start(parsed: Parsed, otp: Otp) -> Result<Machine, String> {
    crate::limits::keep_descriptors_from_children();
    survive_file_limits();
    let mut builder = Builder::new(otp);
    builder.flags = parsed.flags;
    builder.boot_args = parsed.boot_args.into_iter().map(String::into_bytes).collect();
    if let Some((flag, value)) = parsed.schedulers {
        let defaults =
            emulator::Schedulers { total: builder.schedulers, online: builder.schedulers_online };
        let wanted = defaults.changed_by(flag, &value)?;
        builder.schedulers = wanted.total.min(Builder::SCHEDULERS_MAX);
        builder.schedulers_online = wanted.online.min(Builder::SCHEDULERS_MAX);
    }
    if let Some(count) = parsed.processes {
        builder.processes_max = count;
    }
    if let Some(count) = parsed.ports {
        builder.ports_max = count;
    }
    if let Some(interrupt) = parsed.interrupt {
        builder.interrupt = interrupt;
    }
    if let Some(count) = parsed.atoms {
        builder.atoms_max = count;
    }
    if let Some(count) = parsed.dirty_io {
        builder.dirty_io = count;
    }
    if let Ok(engine) = std::env::var(settings::ENGINE) {
        builder.engines = Engines::parse(&engine).ok_or(format!(
            "unknown engine {engine}: interp, baseline, baseline:CALLS, jit, jit:MODULES, tiered or tiered:SAMPLES"
        ))?;
        builder.native_may_fail = false;
    }
    // A setting that was given explicitly and cannot be met is an error.
    let native_settings = [settings::PERF_MAP, settings::CODE_MAX, settings::STATS];
    builder.native_may_fail &= native_settings.iter().all(|name| std::env::var_os(name).is_none());
    // SAFETY: the call has no conditions.
    builder.when_idle = || unsafe { libmimalloc_sys::mi_collect(true) };
    builder.native.perf_map = std::env::var_os(settings::PERF_MAP).is_some();
    if let Ok(bytes) = std::env::var(settings::CODE_MAX) {
        builder.native.code_bytes_max = settings::bytes_of(&bytes).ok_or(format!(
            "machine code of {bytes} bytes at most: it is a number, with K or M behind it"
        ))?;
    }
    builder.code_cache = settings::code_cache();
    builder.boot().map_err(|error| error.to_string())
}

/// Prints to standard output. Somebody who has read enough may have closed it.
pub fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn what_follows_the_programs_own_arguments_is_no_flag() {
        for start in ["-S", "-extra"] {
            let arguments = strings(&["+W", "i", start, "module", "+c", "-smp", "x"]);
            let parsed = parse(&arguments).expect("the flags are fine");
            assert_eq!(parsed.boot_args, strings(&[start, "module", "+c", "-smp", "x"]));
            assert_eq!(parsed.flags, [("+W".to_owned(), "i".to_owned())]);
        }
    }

    #[test]
    fn flags_that_built_ins_answer_about_are_no_arguments_of_init() {
        let parsed = parse(&strings(&["-eval", "x", "+pc", "unicode", "+zhft", "300"]))
            .expect("the flags are fine");
        assert_eq!(parsed.boot_args, strings(&["-eval", "x"]));
        let wanted = [("+pc", "unicode"), ("+zhft", "300")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parsed.flags, wanted);
    }
}
