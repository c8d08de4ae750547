//! Native libraries as Debian ships them (`tests/nif/debian/`), and those that are compiled for the
//! test (`tests/nif/`): the programs that use them print the same on the real `erl` and on SwarmRT.

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The Erlang programs of a folder.
fn programs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut programs: Vec<PathBuf> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "erl"))
        .collect();
    programs.sort();
    programs
}

fn output(command: &mut Command) -> String {
    let output = common::run(command);
    format!(
        "{}{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status
    )
}

/// One program does the same on both systems; the folder goes.
fn assert_same(program: &Path, folder: &Path) {
    assert_all_same(&[program.to_owned()], folder);
}

/// Some programs do, beside one another. They may call each other.
fn assert_all_same(programs: &[PathBuf], folder: &Path) {
    let compiled = common::run(common::oracle("erlc").arg("-o").arg(folder).args(programs));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let outcomes = common::side_by_side(programs, common::machines_at_once() / 2, |program| {
        same_on_both(program, folder)
    });
    let failures: Vec<String> = outcomes.into_iter().flatten().collect();
    let _ = std::fs::remove_dir_all(folder);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs a compiled program in its folder with both, and compares.
fn same_on_both(program: &Path, folder: &Path) -> Option<String> {
    let module = program.file_stem().expect("has a name").to_string_lossy().into_owned();
    let arguments = [
        "-noshell".to_owned(),
        "-pa".to_owned(),
        folder.display().to_string(),
        "-eval".to_owned(),
        format!("{module}:main(), halt()."),
    ];
    let expected = output(common::oracle("erl").args(&arguments).current_dir(folder));
    let actual = output(common::swarmrt_command().arg("erl").args(&arguments).current_dir(folder));
    (actual != expected).then(|| format!("{module}:\n--- erl\n{expected}\n--- swarmrt\n{actual}"))
}

fn temporary(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("swarmrt-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    folder
}

#[test]
fn libraries_of_debian_do_what_they_do_on_erl() {
    // Debian has these for its own release.
    if common::release().is_some() {
        return;
    }
    let programs = programs(&common::root().join("tests/nif/debian"));
    assert_all_same(&programs, &temporary("nif-debian"));
}

/// Compiles a library in C for the OTP under test.
fn compile(source: &Path, folder: &Path) {
    let library = folder.join(source.file_stem().expect("has a name")).with_extension("so");
    let include = common::otp_root().join("usr/include");
    let compiled = common::run(
        Command::new("cc")
            .args(["-Wall", "-O1", "-shared", "-fPIC", "-I"])
            .arg(include)
            .arg("-o")
            .arg(library)
            .arg(source),
    );
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

#[test]
fn a_library_of_every_family_of_functions_does_what_it_does_on_erl() {
    let (source, folder) = (common::root().join("tests/nif/families"), temporary("nif-families"));
    compile(&source.join("nif_families.c"), &folder);
    assert_all_same(&programs(&source), &folder);
}

/// What the families leave out: kinds of terms, names, threads and their locks, output, other
/// files.
#[test]
fn a_library_of_the_other_functions_does_what_it_does_on_erl() {
    let (source, folder) = (common::root().join("tests/nif/others"), temporary("nif-others"));
    compile(&source.join("nif_others.c"), &folder);
    assert_same(&source.join("nif_others.erl"), &folder);
}

/// A library that names every function that the headers of the OTP under test declare is loaded:
/// none is missing.
#[test]
fn every_function_of_the_headers_is_there() {
    let (include, folder) = (common::otp_root().join("usr/include"), temporary("nif-headers"));
    let headers = "#include <erl_nif.h>\n#include <erl_driver.h>\n";
    let plain = folder.join("headers.c");
    std::fs::write(&plain, headers).expect("the folder is writable");
    let preprocessed =
        common::run(Command::new("cc").arg("-E").arg("-I").arg(&include).arg(&plain));
    let mut names: Vec<String> = Vec::new();
    // What stands in front of a parenthesis.
    for before in String::from_utf8_lossy(&preprocessed.stdout).split('(') {
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let word = before.trim_end().rsplit(|letter| !is_part(letter)).next().unwrap_or_default();
        // Of lists and tuples of fixed sizes there are inline functions, which need no export.
        let is_inline = (word.starts_with("enif_make_list") || word.starts_with("enif_make_tuple"))
            && word.ends_with(|last: char| last.is_ascii_digit());
        if ["enif_", "driver_", "erl_drv_"].iter().any(|family| word.starts_with(family))
            && !is_inline
        {
            names.push(word.to_owned());
        }
    }
    names.sort();
    names.dedup();
    let program = "-module(nif_headers).\n-export([main/0]).\n-nifs([]).\nmain() -> io:format(\"~p~n\", [erlang:load_nif(\"./nif_headers\", 0)]).\n";
    std::fs::write(folder.join("nif_headers.erl"), program).expect("the folder is writable");
    assert!(names.len() > 250, "{names:?}");
    let addresses: String = names.iter().map(|name| format!("    (void *){name},\n")).collect();
    let init =
        "static ErlNifFunc none[] = {};\nERL_NIF_INIT(nif_headers, none, NULL, NULL, NULL, NULL)\n";
    let library = format!("{headers}void *addresses[] = {{\n{addresses}}};\n{init}");
    std::fs::write(folder.join("nif_headers.c"), library).expect("the folder is writable");
    compile(&folder.join("nif_headers.c"), &folder);
    assert_same(&folder.join("nif_headers.erl"), &folder);
}

#[test]
fn a_thousand_upgrades_under_load_lose_nothing() {
    let (source, folder) = (common::root().join("tests/nif/families"), temporary("nif-upgrades"));
    compile(&source.join("nif_families.c"), &folder);
    for program in programs(&source) {
        let compiled = common::run(common::oracle("erlc").arg("-o").arg(&folder).arg(program));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    }
    let mut command = common::swarmrt_command();
    command
        .args(["erl", "-noshell", "-eval", "nif_upgrades:main(), halt()."])
        .env("UPGRADES", "1000")
        .current_dir(&folder);
    let printed = common::run(&mut command);
    let _ = std::fs::remove_dir_all(&folder);
    // The library's generation, its objects, those who called it meanwhile, and what a new library
    // knows of the old objects.
    assert_eq!(
        String::from_utf8_lossy(&printed.stdout),
        "1000 true\n[done,done,done,done]\n0 badarg\n"
    );
}

/// `erl_driver.h`: queues, busy ports, how ports end, descriptors, monitors, ports that make
/// others.
#[test]
fn linked_in_drivers_do_what_they_do_on_erl() {
    let (source, folder) = (common::root().join("tests/drivers/ports"), temporary("drivers-ports"));
    compile(&source.join("ports_drv.c"), &folder);
    assert_same(&source.join("ports.erl"), &folder);
}

/// `erl_drv_init_ack`: drivers that say later whether their ports are open.
#[test]
fn ports_open_when_their_driver_says_so() {
    let (source, folder) =
        (common::root().join("tests/drivers/opening"), temporary("drivers-opening"));
    compile(&source.join("opening_drv.c"), &folder);
    assert_same(&source.join("opening.erl"), &folder);
}

/// `erl_ddll`: who has loaded a driver, when it is unloaded or loaded again, and who is told.
#[test]
fn drivers_are_loaded_and_unloaded_as_on_erl() {
    let (source, folder) =
        (common::root().join("tests/drivers/loading"), temporary("drivers-loading"));
    let include = common::otp_root().join("usr/include");
    for (name, define) in [
        ("", "-DPLAIN"),
        ("fails", "-DFAIL_INIT"),
        ("named", "-DWRONG_NAME"),
        ("without", "-DNO_INIT"),
    ] {
        let to = folder.join(name);
        std::fs::create_dir_all(&to).expect("a folder can be made");
        let mut compiler = Command::new("cc");
        compiler.args(["-w", "-shared", "-fPIC", define, "-I"]).arg(&include);
        compiler.arg("-o").arg(to.join("loading_drv.so")).arg(source.join("loading_drv.c"));
        let compiled = common::run(&mut compiler);
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    }
    std::fs::create_dir_all(folder.join("text")).expect("a folder can be made");
    std::fs::write(folder.join("text/loading_drv.so"), "not a library").expect("writable");
    assert_same(&source.join("loading.erl"), &folder);
}

/// Native code cannot be interrupted. SIGTERM ends the machine all the same, without the good
/// order.
#[test]
fn sigterm_ends_a_machine_that_is_stuck_in_native_code() {
    let (source, folder) = (common::root().join("tests/nif/stuck"), temporary("nif-stuck"));
    compile(&source.join("nif_stuck.c"), &folder);
    let program = source.join("nif_stuck.erl");
    let compiled = common::run(common::oracle("erlc").arg("-o").arg(&folder).arg(program));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let mut command = common::swarmrt_command();
    command.args(["erl", "-noshell", "-eval", "nif_stuck:main()."]).current_dir(&folder);
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_secs(2));
    // SAFETY: the child is ours, and has not been waited for.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = child.try_wait().expect("it can be asked") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it can be killed");
            panic!("it is still there");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut told = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut told).expect("it can be read");
    let _ = std::fs::remove_dir_all(&folder);
    assert_eq!(status.code(), Some(128 + libc::SIGTERM), "{told}");
    assert!(told.contains("no scheduler came to the end of a turn"), "{told}");
}

/// What a library hears of a halt depends on whether it flushes. OTP has that from 26 on.
#[test]
fn a_halt_waits_for_the_libraries_that_ask_for_it() {
    let (source, folder) = (common::root().join("tests/nif/halt"), temporary("nif-halt"));
    compile(&source.join("nif_halt.c"), &folder);
    let program = source.join("nif_halt.erl");
    let compiled = common::run(common::oracle("erlc").arg("-o").arg(&folder).arg(program));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    for (options, told) in [("[]", "waits\non_halt\nreturns\n"), ("[{flush, false}]", "waits\n")] {
        let mut command = common::swarmrt_command();
        command.args(["erl", "-noshell", "-eval", &format!("nif_halt:main({options}).")]);
        let printed = common::run(command.current_dir(&folder));
        assert_eq!(String::from_utf8_lossy(&printed.stdout), told, "{options}");
        assert_eq!(printed.status.code(), Some(3), "{options}");
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// Exit signals, questions and tracing of processes in dirty functions.
#[test]
fn a_process_in_a_dirty_function_is_gone_when_it_is_ended() {
    let (source, folder) = (common::root().join("tests/nif/dirty"), temporary("nif-dirty"));
    compile(&source.join("nif_dirty.c"), &folder);
    assert_same(&source.join("nif_dirty.erl"), &folder);
}

/// OTP has that from 26 on. A library that is loaded again is a new one: its counter begins at 0.
#[test]
fn each_scheduler_is_told_of_the_end_of_a_library() {
    let (source, folder) = (common::root().join("tests/nif/unload"), temporary("nif-unload"));
    compile(&source.join("nif_unload.c"), &folder);
    let program = source.join("nif_unload.erl");
    let compiled = common::run(common::oracle("erlc").arg("-o").arg(&folder).arg(program));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let once = "{module, nif_unload} = code:load_file(nif_unload), 0 = nif_unload:start(), \
        true = code:delete(nif_unload), false = code:purge(nif_unload)";
    let mut command = common::swarmrt_command();
    let text = format!("{once}, {once}, timer:sleep(500), halt().");
    command.args(["erl", "+S", "3:2", "-noshell", "-eval", &text]);
    let printed = common::run(command.current_dir(&folder));
    let _ = std::fs::remove_dir_all(&folder);
    let told = "3 threads, schedulers only: 1\n".repeat(2);
    assert_eq!(String::from_utf8_lossy(&printed.stdout), told);
}

/// What stands behind `{error, {Kind, Text}}` when a library cannot be loaded, whatever is wrong
/// with it.
#[test]
fn what_cannot_be_loaded_is_refused_as_on_erl() {
    let (source, folder) = (common::root().join("tests/nif/refused"), temporary("nif-refused"));
    for (number, defines) in [
        "",
        "-DWRONG_NAME",
        "-DTOO_NEW",
        "-DTOO_OLD",
        "-DNO_FUNCTION",
        "-DWRONG_FLAGS",
        "-DTWICE",
        "-DVETO",
        "-DNO_INIT",
        "-DNULL_ENTRY",
        "-DVARIANT",
    ]
    .iter()
    .enumerate()
    {
        let include = common::otp_root().join("usr/include");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-w", "-shared", "-fPIC", "-I"])
            .arg(include)
            .arg("-o")
            .arg(folder.join(format!("refused_{number}.so")));
        compiler.arg(source.join("nif_refused.c")).args((!defines.is_empty()).then_some(defines));
        let compiled = common::run(&mut compiler);
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    }
    std::fs::write(folder.join("no_library.so"), "not a library").expect("writable");
    assert_same(&source.join("nif_refused.erl"), &folder);
}

/// The crate in `tests/nif/rustler`, which uses rustler as it is published.
#[test]
fn a_library_written_with_rustler_does_what_it_does_on_erl() {
    let (source, folder) = (common::root().join("tests/nif/rustler"), temporary("nif-rustler"));
    let target = common::root().join("target/nif-rustler");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(source.join("Cargo.toml"));
    let built = common::run(cargo.arg("--target-dir").arg(&target));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let library = target.join("debug/libnif_rustler.so");
    std::fs::copy(library, folder.join("nif_rustler.so")).expect("the library was built");
    assert_same(&source.join("nif_rustler.erl"), &folder);
}
