//! From the command line to a machine: `erl`'s flags, and our own commands.

use crate::{emulator, root};
use std::io::Write;
use std::path::{Path, PathBuf};
use swarmrt::{Builder, Engines, Interrupt, Otp};

struct Parsed {
    otp_root: Option<PathBuf>,
    boot_args: Vec<String>,
    /// Emulator flags that built-ins answer questions about.
    flags: Vec<(String, String)>,
    schedulers: Option<usize>,
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

/// Schedulers that this machine can have.
const SCHEDULERS_MAX: usize = 64;

/// What `--engine` says, for this program and those that it starts.
const ENGINE_VARIABLE: &str = "SWARMRT_ENGINE";
const CODE_CACHE_VARIABLE: &str = "SWARMRT_CODE_CACHE";
const PERF_MAP_VARIABLE: &str = "SWARMRT_JIT_DUMP";
/// How much machine code there may be at a time.
const CODE_MAX_VARIABLE: &str = "SWARMRT_JIT_CODE_MAX";
/// Has the native engine say at the end what it has done.
const STATS_VARIABLE: &str = "SWARMRT_JIT_STATS";

/// The words of an `-args_file` or an `ERL_…FLAGS` variable: quotes hold words together, `\` takes away a meaning.
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
    let extra = arguments.iter().position(|argument| argument == "-extra" || argument == "-S").unwrap_or(arguments.len());
    [words_of("ERL_AFLAGS"), arguments[..extra].to_vec(), words_of("ERL_FLAGS"), words_of("ERL_ZFLAGS"), arguments[extra..].to_vec()].concat()
}

/// Takes the emulator's flags out of `erl`'s arguments; the rest is for `init`.
fn parse(arguments: &[String]) -> Result<Parsed, String> {
    let mut parsed = Parsed {
        otp_root: None,
        boot_args: Vec::new(),
        flags: Vec::new(),
        schedulers: None,
        processes: None,
        ports: None,
        interrupt: None,
        dirty_io: None,
        atoms: None,
        version: false,
        detached: false,
    };
    let mut at = 0;
    while at < arguments.len() {
        let argument = &arguments[at];
        at += 1;
        match argument.as_str() {
            // What follows is the program's alone. (`-S` is of OTP 27 and later.)
            "-extra" | "-S" => {
                parsed.boot_args.extend(arguments[at - 1..].iter().cloned());
                return Ok(parsed);
            }
            "-env" => {
                let (Some(name), Some(value)) = (arguments.get(at), arguments.get(at + 1)) else { return Err("-env needs a name and a value".to_owned()) };
                // SAFETY: no other thread runs yet.
                unsafe { std::env::set_var(name, value) };
                at += 2;
            }
            // Without input there is no shell either.
            "-noinput" => parsed.boot_args.extend(["-noshell", "-noinput"].map(str::to_owned)),
            // Which build of the runtime to use: there is one here.
            "-smp" | "-emu_type" | "-emu_flavor" => at += usize::from(arguments.get(at).is_some_and(|value| !value.starts_with(['-', '+']))),
            "-args_file" => {
                let file = arguments.get(at).ok_or("-args_file needs a file")?;
                at += 1;
                let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                let inner = parse(&words(&text))?;
                parsed.boot_args.extend(inner.boot_args);
                parsed.flags.extend(inner.flags);
                parsed.schedulers = inner.schedulers.or(parsed.schedulers);
                parsed.processes = inner.processes.or(parsed.processes);
                parsed.ports = inner.ports.or(parsed.ports);
                parsed.interrupt = inner.interrupt.or(parsed.interrupt);
                parsed.atoms = inner.atoms.or(parsed.atoms);
                parsed.dirty_io = inner.dirty_io.or(parsed.dirty_io);
                parsed.version |= inner.version;
            }
            "--otp-root" => {
                parsed.otp_root = Some(arguments.get(at).ok_or("--otp-root needs a folder")?.into());
                at += 1;
            }
            "-version" => parsed.version = true,
            "-detached" => {
                parsed.detached = true;
                parsed.boot_args.extend(["-noshell", "-noinput"].map(str::to_owned));
            }
            "-make" => parsed.boot_args.extend(["-noshell", "-noinput", "-s", "make", "all", "-s", "erlang", "halt"].map(str::to_owned)),
            _ if argument.starts_with('+') => {
                let flag = emulator::flag(&arguments[at - 1..])?;
                at += flag.taken - 1;
                match flag.name {
                    "+S" if flag.number() > 0 => parsed.schedulers = Some(flag.number().min(SCHEDULERS_MAX)),
                    "+P" => parsed.processes = Some(flag.number()),
                    // As `+Bc`: there is no shell's job to interrupt without a terminal.
                    "+B" => {
                        parsed.interrupt = Some(match flag.value {
                            "i" => Interrupt::Ignore,
                            _ => Interrupt::End,
                        });
                    }
                    "+Q" => parsed.ports = Some(flag.number()),
                    "+SDio" => parsed.dirty_io = Some(flag.number()),
                    "+t" => parsed.atoms = Some(flag.number()),
                    "+V" => parsed.version = true,
                    // Asked for by flag, and answered by the machine.
                    "+pc" | "+W" | "+zhft" => parsed.flags.push((flag.name.to_owned(), flag.value.to_owned())),
                    _ => {}
                }
            }
            _ => parsed.boot_args.push(argument.clone()),
        }
    }
    Ok(parsed)
}

/// A number of bytes: `4096`, `512K`, `64M`.
fn bytes_of(text: &str) -> Option<usize> {
    let (number, unit) = match text.char_indices().last()? {
        (end, 'K' | 'k') => (&text[..end], 1 << 10),
        (end, 'M' | 'm') => (&text[..end], 1 << 20),
        _ => (text, 1),
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// Boots with `erl`'s arguments; the exit code of the run.
fn erl(program: &str, arguments: &[String]) -> Result<i32, String> {
    let parsed = parse(&with_environment(arguments))?;
    let otp = Otp::find(parsed.otp_root.as_deref()).map_err(|error| error.to_string())?;
    if parsed.version {
        show(&format!("SwarmRT {} (SMP) (BEAM) emulator version {}\n", env!("CARGO_PKG_VERSION"), otp.erts_version));
        return Ok(0);
    }
    if parsed.detached {
        detach().map_err(|error| format!("-detached: {error}"))?;
    }
    run_to_end(boot(program, parsed, otp)?)
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
        // SAFETY: the call has no conditions. The second time it fails, as that child leads no group: it can never get a
        // terminal again.
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
pub fn emulator(arguments: &[String]) -> Result<i32, String> {
    let (flags, boot_args) = root::emulator_arguments(arguments);
    let mut parsed = parse(&flags)?;
    let place = |flag: &str| root::argument_of(&boot_args, flag).map(PathBuf::from).ok_or_else(|| format!("{flag} is missing"));
    let otp = Otp::of_release(&place("-root")?, &place("-bindir")?).map_err(|error| error.to_string())?;
    parsed.boot_args = boot_args;
    run_to_end(start(parsed, otp)?)
}

fn run_to_end(vm: &'static swarmrt::machine::Vm) -> Result<i32, String> {
    let code = vm.wait_for_halt();
    swarmrt::nif::halt();
    // What cannot be kept is found out again.
    let _ = swarmrt::jit::keep(vm);
    if std::env::var_os(STATS_VARIABLE).is_some() {
        crate::tell(&native_counts());
    }
    Ok(code)
}

/// What the native engine has done so far.
fn native_counts() -> String {
    swarmrt::jit::counts().map_or("no native engine".to_owned(), |counts| format!("native engine: {counts}"))
}

/// Where code is cached: where the flag says, or below the user's folder for such things.
fn code_cache() -> Option<PathBuf> {
    if let Some(told) = std::env::var_os(CODE_CACHE_VARIABLE) {
        return (told != "off").then(|| PathBuf::from(told));
    }
    Some(user_caches()?.join("swarmrt"))
}

/// The user's folder for what can be made again.
fn user_caches() -> Option<PathBuf> {
    let absolute = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").filter(|home| home.is_dir()).map(|home| home.join(".cache")))
}

/// Boots with the arguments that `erl` gives `init` before those of its own.
fn boot(program: &str, mut parsed: Parsed, otp: Otp) -> Result<&'static swarmrt::machine::Vm, String> {
    let root = otp.root.to_string_lossy().into_owned();
    let bin = otp.root.join(format!("erts-{}/bin", otp.erts_version)).to_string_lossy().into_owned();
    let home = std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
    for (name, value) in [("ROOTDIR", root.as_str()), ("BINDIR", bin.as_str()), ("PROGNAME", program), ("EMU", "beam")] {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var(name, value) };
    }
    // Programs of OTP's own are found, such as `heart`.
    let path = std::env::var("PATH").unwrap_or_default();
    if !path.split(':').any(|folder| folder == bin) {
        // SAFETY: as above.
        unsafe { std::env::set_var("PATH", format!("{bin}:{root}/bin:{path}")) };
    }
    let mut boot_args: Vec<String> = ["-root", &root, "-bindir", &bin, "-progname", program, "--", "-home", &home, "--"].map(str::to_owned).to_vec();
    boot_args.append(&mut parsed.boot_args);
    parsed.boot_args = boot_args;
    start(parsed, otp)
}

/// Boots with `init`'s arguments.
fn start(parsed: Parsed, otp: Otp) -> Result<&'static swarmrt::machine::Vm, String> {
    let mut builder = Builder::new(otp);
    builder.flags = parsed.flags;
    builder.boot_args = parsed.boot_args.into_iter().map(String::into_bytes).collect();
    if let Some(count) = parsed.schedulers {
        builder.schedulers = count;
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
    if let Ok(engine) = std::env::var(ENGINE_VARIABLE) {
        builder.engines = Engines::parse(&engine).ok_or(format!("unknown engine {engine}: interp, jit, jit:MODULES, tiered or tiered:SAMPLES"))?;
    }
    // SAFETY: the call has no conditions.
    builder.when_idle = || unsafe { libmimalloc_sys::mi_collect(true) };
    builder.native.perf_map = std::env::var_os(PERF_MAP_VARIABLE).is_some();
    if let Ok(bytes) = std::env::var(CODE_MAX_VARIABLE) {
        builder.native.code_bytes_max = bytes_of(&bytes).ok_or(format!("machine code of {bytes} bytes at most: it is a number, with K or M behind it"))?;
    }
    builder.code_cache = code_cache();
    builder.boot().map_err(|error| error.to_string())
}

/// Erlang that `swarmrt run` evaluates: compiles or loads the file, calls `main`, reports what it raises.
const RUNNER: &str = r#"
[File | Args] = init:get_plain_arguments(),
Report = fun(Class, Reason, Stack) ->
    Format = fun(Term, I) -> io_lib:format("~.*tP", [I, Term, 50]) end,
    Skip = fun(M, _, _) -> M =:= erl_eval orelse M =:= init end,
    Text = erl_error:format_exception(1, Class, Reason, Stack, Skip, Format, unicode),
    io:put_chars(standard_error, [Text, $\n])
end,
Fail = fun(Text) -> io:put_chars(standard_error, ["swarmrt: ", Text, $\n]), erlang:halt(1) end,
Load = fun
    (Module, Binary) ->
        case code:load_binary(Module, File, Binary) of
            {module, Module} -> Module;
            {error, Why} -> Fail(io_lib:format("~ts: cannot be loaded: ~tp", [File, Why]))
        end
end,
Module = case filename:extension(File) of
    ".beam" ->
        case file:read_file(File) of
            {ok, Beam} ->
                case beam_lib:info(Beam) of
                    Info when is_list(Info) -> Load(proplists:get_value(module, Info), Beam);
                    {error, beam_lib, Bad} ->
                        %% It names what it was given: the file rather than what is in it.
                        Text = lists:flatten(beam_lib:format_error(setelement(2, Bad, File))),
                        Prefix = lists:flatten(io_lib:format("~tp: ", [File])),
                        Fail([File, ": ", case string:prefix(Text, Prefix) of nomatch -> Text; Rest -> Rest end])
                end;
            {error, Posix} -> Fail(io_lib:format("~ts: ~ts", [File, file:format_error(Posix)]))
        end;
    _ ->
        case filelib:is_regular(File) of
            false -> Fail([File, ": ", file:format_error(enoent)]);
            true ->
                case compile:file(filename:rootname(File, ".erl"), [binary, report]) of
                    {ok, Name, Code} -> Load(Name, Code);
                    {ok, Name, Code, _} -> Load(Name, Code);
                    _ -> erlang:halt(1)
                end
        end
end,
try
    case erlang:function_exported(Module, main, 1) of
        true -> Module:main(Args);
        false -> Module:main()
    end
of
    _ -> erlang:halt(0)
catch
    Class:Reason:Stack ->
        Report(Class, Reason, Stack),
        erlang:halt(1)
end.
"#;

fn run_file(arguments: &[String]) -> Result<i32, String> {
    let mut rest = arguments;
    let mut erl_arguments: Vec<String> = ["+B", "-noshell", "-boot", "no_dot_erlang"].map(str::to_owned).to_vec();
    loop {
        if let [flag, value, more @ ..] = rest
            && flag == "--otp-root"
        {
            erl_arguments.extend([flag.clone(), value.clone()]);
            rest = more;
        } else if let Some(more) = engine_flag(rest) {
            rest = more;
        } else {
            break;
        }
    }
    let [file, ..] = rest else { return Err("run needs a file".to_owned()) };
    match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(format!("{file}: no such file")),
        Err(error) => return Err(format!("{file}: {error}")),
        Ok(found) if found.is_dir() => return Err(format!("{file}: it is a folder")),
        Ok(_) => {}
    }
    let first_line = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    if first_line.starts_with(b"#!") {
        return escript(rest);
    }
    erl_arguments.extend(["-eval".to_owned(), RUNNER.to_owned(), "-extra".to_owned()]);
    erl_arguments.extend(rest.iter().cloned());
    erl("erl", &erl_arguments)
}

fn escript(arguments: &[String]) -> Result<i32, String> {
    let mut erl_arguments: Vec<String> = ["+B", "-boot", "no_dot_erlang", "-noshell", "-run", "escript", "start", "-extra"].map(str::to_owned).to_vec();
    erl_arguments.extend(arguments.iter().cloned());
    erl("escript", &erl_arguments)
}

/// OTP's compiler driver takes `erlc`'s own options; paths for the runtime are ours to hand on.
fn erlc(arguments: &[String]) -> Result<i32, String> {
    let mut emulator: Vec<String> = Vec::new();
    let mut options = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "-pa" || argument == "-pz" {
            emulator.push(argument.clone());
            emulator.extend(rest.next().cloned());
        } else {
            options.push(argument.clone());
        }
    }
    emulator.extend(["-noinput", "-mode", "minimal", "-boot", "start_clean", "-s", "erl_compile", "compile_cmdline", "-extra"].map(str::to_owned));
    emulator.append(&mut options);
    erl("erl", &emulator)
}

fn info(arguments: &[String]) -> Result<i32, String> {
    let told = match arguments {
        [flag, root] if flag == "--otp-root" => Some(Path::new(root)),
        _ => None,
    };
    let otp = Otp::find(told).map_err(|error| error.to_string())?;
    let builtins = swarmrt::coverage::builtins(&otp).map_err(|error| error.to_string())?;
    let missing: Vec<&str> = builtins.iter().filter(|builtin| !builtin.exists).map(|builtin| builtin.name.as_str()).collect();
    let mut lines = vec![
        format!("swarmrt {}", env!("CARGO_PKG_VERSION")),
        format!("OTP root:    {}", otp.root.display()),
        format!("OTP release: {} (erts {})", otp.version.clone().unwrap_or_else(|| otp.release.to_string()), otp.erts_version),
        "engines:     interp (the interpreter alone), jit (all code native when loaded), tiered (native when hot; the default)".to_owned(),
        format!("schedulers:  {}", std::thread::available_parallelism().map_or(1, usize::from)),
        trial(otp),
        cached(),
        native_libraries(),
        format!("built-ins:   {} of OTP's {} exist; missing:", builtins.len() - missing.len(), builtins.len()),
    ];
    lines.extend(missing.iter().map(|name| format!("  {name}")));
    show(&(lines.join("\n") + "\n"));
    Ok(0)
}

/// The native libraries that a start has loaded, and those that are part of the machine.
fn native_libraries() -> String {
    let loaded: Vec<String> = swarmrt::nif::libraries().into_iter().map(|(module, path)| format!("{module} ({path})")).collect();
    let (linked, (major, minor)) = (swarmrt::machine::bif::LINKED_LIBRARIES.join(", "), swarmrt::nif::VERSION);
    let loaded = if loaded.is_empty() { "none from files".to_owned() } else { loaded.join(", ") };
    format!("native libs: erl_nif {major}.{minor}; loaded at a start: {loaded}; part of the machine: {linked}")
}

/// Where code is cached, and how much of it.
fn cached() -> String {
    let Some(folder) = code_cache() else { return "code cache:  none".to_owned() };
    if let Err(why) = swarmrt::machine::code_cache::CodeCache::check(&folder) {
        return format!("code cache:  none, as {} cannot be used: {why}", folder.display());
    }
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    let files = entries(&folder).flat_map(|(build, _)| entries(&build).collect::<Vec<_>>());
    let (count, bytes) = files.fold((0, 0), |(count, bytes), (_, file)| (count + 1, bytes + file.len()));
    format!("code cache:  {} ({count} files, {bytes} bytes; of all builds)", folder.display())
}

/// Boots and halts at once, with the engines that are asked for; says how that went.
fn trial(otp: Otp) -> String {
    let started = std::time::Instant::now();
    let arguments = ["-noshell", "-noinput", "-eval", "erlang:halt(0)."].map(str::to_owned);
    match parse(&arguments).and_then(|parsed| boot("erl", parsed, otp)).map(|vm| vm.wait_for_halt()) {
        Ok(0) => format!("a start:     {} ms; {}", started.elapsed().as_millis(), native_counts()),
        Ok(code) => format!("a start:     ends with {code}"),
        Err(why) => format!("a start:     fails: {why}"),
    }
}

/// Prints to standard output. Somebody who has read enough may have closed it.
fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn disasm(arguments: &[String]) -> Result<i32, String> {
    let native = arguments.first().is_some_and(|flag| flag == "--native");
    let [file, only @ ..] = &arguments[usize::from(native)..] else { return Err("disasm needs a .beam file".to_owned()) };
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let text = swarmrt::disassemble(&bytes, only.first().map(String::as_str), native).map_err(|error| format!("{file}: {error}"))?;
    show(&text);
    Ok(0)
}

/// Runs a command with `erl`, `erlc` and `escript` on its PATH being this program, and with a root of OTP whose emulator it
/// is as well: releases that the command makes or starts run on it.
fn exec(arguments: &[String]) -> Result<i32, String> {
    use std::os::unix::process::CommandExt;
    let [command, rest @ ..] = arguments else { return Err("exec needs a command".to_owned()) };
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = std::env::temp_dir().join(format!("swarmrt-exec-{}", std::process::id()));
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for name in ["erl", "erlc", "escript"] {
        let quoted = here.to_string_lossy().replace('\'', "'\\''");
        let text = format!("#!/bin/sh\nexec '{quoted}' {name} \"$@\"\n");
        root::write_script(&folder.join(name), &text).map_err(failed)?;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut process = std::process::Command::new(command);
    process.args(rest).env("PATH", format!("{}:{path}", folder.display()));
    // Where such a root cannot be made, releases run on OTP's emulator.
    if let Ok(otp) = Otp::find(None)
        && let Some(caches) = user_caches().map(|folder| folder.join("swarmrt.roots"))
        && let Ok(root) = root::with_emulator(&otp, &here, &caches)
    {
        process.env("SWARMRT_OTP_ROOT", root);
    }
    let error = process.exec();
    Err(format!("{command}: {error}"))
}

const USAGE: &str =
    "usage: swarmrt [--otp-root DIR] [--engine=tiered|interp|jit] [--jit-stats] [--jit-dump] [--jit-code-max=BYTES] [--code-cache=DIR|off] COMMAND …
  run FILE [ARGS…]          run a program: .erl, .beam or an escript
  shell                     the Erlang shell
  erl …, erlc …, escript …  as OTP's
  exec COMMAND…             run COMMAND with erl, erlc and escript being SwarmRT
  info                      version, OTP found, engines, built-ins, and how a start goes
  disasm [--native] FILE.beam [F/A]
                            the specialised instructions, with --native the machine code of each";

/// Takes `--engine=…` or a flag of the native engine's off the front, if one is there.
fn engine_flag(arguments: &[String]) -> Option<&[String]> {
    let (flag, rest) = arguments.split_first()?;
    let (variable, value) = match flag.split_once('=') {
        Some(("--engine", engine)) => (ENGINE_VARIABLE, engine),
        Some(("--code-cache", folder)) => (CODE_CACHE_VARIABLE, folder),
        Some(("--jit-code-max", bytes)) => (CODE_MAX_VARIABLE, bytes),
        _ if flag == "--jit-dump" => (PERF_MAP_VARIABLE, "1"),
        _ if flag == "--jit-stats" => (STATS_VARIABLE, "1"),
        _ => return None,
    };
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var(variable, value) };
    Some(rest)
}

pub fn run(arguments: &[String]) -> Result<i32, String> {
    if let Some(rest) = engine_flag(arguments) {
        return run(rest);
    }
    if let [flag, root, rest @ ..] = arguments
        && flag == "--otp-root"
    {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("SWARMRT_OTP_ROOT", root) };
        return run(rest);
    }
    match arguments.split_first() {
        Some((command, rest)) => match command.as_str() {
            "run" => run_file(rest),
            "erl" => erl("erl", rest),
            "shell" => erl("erl", rest),
            "erlc" => erlc(rest),
            "escript" => escript(rest),
            "exec" => exec(rest),
            "info" => info(rest),
            "disasm" => disasm(rest),
            "--help" | "help" => {
                show(&format!("{USAGE}\n"));
                Ok(0)
            }
            other => Err(format!("unknown command {other}\n{USAGE}")),
        },
        None => Err(format!("no command\n{USAGE}")),
    }
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
        let parsed = parse(&strings(&["-eval", "x", "+pc", "unicode", "+zhft", "300"])).expect("the flags are fine");
        assert_eq!(parsed.boot_args, strings(&["-eval", "x"]));
        let wanted = [("+pc", "unicode"), ("+zhft", "300")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parsed.flags, wanted);
    }
}
