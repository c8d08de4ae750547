//! Machine code and verification from earlier runs: `tests/code_cache/`.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("swarmrt-code-cache-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("beams")).expect("a temporary folder can be made");
        Folder(path)
    }
    fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }
    fn beams(&self) -> PathBuf {
        self.0.join("beams")
    }
    /// Compiles the worker as one of its versions.
    fn compile(&self, version: u32) {
        self.compile_one("worker", version);
    }
    fn compile_one(&self, name: &str, version: u32) {
        let source = common::root().join(format!("tests/code_cache/{name}.erl"));
        let mut command = Command::new("erlc");
        let compiled = common::run(
            command.arg(format!("-DVERSION={version}")).arg("-o").arg(self.beams()).arg(source),
        );
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    }
    /// What an expression prints, and how many pieces of machine code were there from before.
    fn run(&self, expression: &str) -> (String, u64) {
        self.run_with(&["--engine=tiered:1"], expression)
    }
    /// As [`run`](Folder::run), with options of the engine.
    fn run_with(&self, options: &[&str], expression: &str) -> (String, u64) {
        let mut command = Command::new(common::swarmrt());
        command
            .env("SWARMRT_CODE_CACHE", self.cache())
            .args(options)
            .args(["--jit-stats", "erl", "-noshell", "-pa"])
            .arg(self.beams());
        let output = common::run_within(
            command.arg("-eval").arg(format!("{expression}, halt().")),
            Duration::from_mins(2),
        );
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = text(&output.stderr);
        assert!(output.status.success(), "{told}");
        let at = told.find(" pieces from earlier runs").unwrap_or_else(|| panic!("{told}"));
        let pieces = told[..at]
            .rsplit(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{told}"));
        (text(&output.stdout), pieces)
    }
    /// What `swarmrt info` says of the cache.
    fn info(&self) -> String {
        let output = common::run(
            Command::new(common::swarmrt()).env("SWARMRT_CODE_CACHE", self.cache()).arg("info"),
        );
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        told.lines()
            .find(|line| line.starts_with("code cache:"))
            .unwrap_or_else(|| panic!("{told}"))
            .to_owned()
    }
    /// Files of the cache.
    fn files(&self) -> Vec<PathBuf> {
        let entries = |path: &Path| {
            std::fs::read_dir(path).map(|entries| {
                entries.map(|entry| entry.expect("it can be read").path()).collect::<Vec<_>>()
            })
        };
        let builds = entries(&self.cache()).unwrap_or_default();
        builds.iter().flat_map(|build| entries(build).unwrap_or_default()).collect()
    }
    /// Runs until nothing new is kept: which functions are seen is left to chance.
    fn fill(&self) -> String {
        let (expected, pieces) = self.run(WORK);
        assert_eq!(pieces, 0, "nothing is there yet");
        let (printed, pieces) = self.run(WORK);
        assert!(pieces > 20, "{pieces} pieces were kept");
        assert_eq!(printed, expected);
        expected
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const WORK: &str = "io:format(\"~p~n\", [worker:run(20000)])";

#[test]
fn machine_code_is_used_again_and_does_the_same() {
    let folder = Folder::new("again");
    folder.compile(1);
    let printed = folder.fill();
    for _ in 0..3 {
        assert_eq!(folder.run(WORK).0, printed);
    }
    let mut command = Command::new("erl");
    let expected = common::run(
        command
            .args(["-noshell", "-pa"])
            .arg(folder.beams())
            .arg("-eval")
            .arg(format!("{WORK}, halt().")),
    );
    assert_eq!(printed, String::from_utf8_lossy(&expected.stdout));
}

/// Makes a named pipe in the place of a file: who opens it as a file waits for somebody at its
/// other end.
fn pipe_at(path: &Path) {
    let _ = std::fs::remove_file(path);
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo is installed");
    assert!(made.success());
}

#[test]
fn pipes_in_the_place_of_files_are_not_waited_for() {
    let folder = Folder::new("pipes");
    folder.compile(1);
    let printed = folder.fill();
    let files = folder.files();
    let build = files[0].parent().expect("a folder").to_owned();
    for name in ["new", "lock", "index"] {
        pipe_at(&build.join(name));
        assert_eq!(folder.run(WORK).0, printed, "{name}");
        assert!(
            name != "new" || !build.join(name).exists(),
            "what another run has left is removed"
        );
    }
    for file in files.iter().filter(|file| file.exists()) {
        pipe_at(file);
    }
    assert_eq!(folder.run(WORK).0, printed);
}

#[test]
fn a_module_that_has_changed_is_another() {
    let folder = Folder::new("changed");
    folder.compile(1);
    assert!(folder.fill().starts_with("{1,"));
    folder.compile(2);
    assert!(folder.run(WORK).0.starts_with("{2,"));
    folder.compile(1);
    assert!(folder.run(WORK).0.starts_with("{1,"));
}

#[test]
fn a_module_that_others_have_inside_may_change() {
    let folder = Folder::new("inside");
    folder.compile(1);
    let work = "worker:folds(3000)";
    for version in [1, 2, 1] {
        folder.compile_one("helper", version);
        let mut command = Command::new("erl");
        let expected = common::run(
            command
                .args(["-noshell", "-pa"])
                .arg(folder.beams())
                .arg("-eval")
                .arg(format!("{work}, halt().")),
        );
        let expected = String::from_utf8_lossy(&expected.stdout).into_owned();
        for _ in 0..3 {
            assert_eq!(folder.run(work).0, expected, "version {version}");
        }
    }
    // Loaded again while it runs: what has it inside calls it from then on.
    let work = "worker:folds(300), code:purge(helper), {module, _} = code:load_file(helper), worker:folds(300), code:purge(helper), \
                code:delete(helper), code:purge(helper), worker:folds(30)";
    let printed: Vec<String> = (0..3).map(|_| folder.run(work).0).collect();
    assert!(
        printed.iter().all(|text| text.lines().count() == 3 && *text == printed[0]),
        "{printed:?}"
    );
}

#[test]
fn what_is_damaged_is_not_used() {
    let folder = Folder::new("damaged");
    folder.compile(1);
    let expected = folder.fill();
    for damage in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| bytes.clear(),
        |bytes: &mut Vec<u8>| bytes.iter_mut().for_each(|byte| *byte ^= 0x55),
    ] {
        for file in folder.files() {
            let mut bytes = std::fs::read(&file).expect("it can be read");
            damage(&mut bytes);
            std::fs::write(&file, bytes).expect("it can be written");
        }
        assert_eq!(folder.run(WORK), (expected.clone(), 0));
        // It is as good as new afterwards.
        assert!(folder.run(WORK).1 > 20);
    }
}

#[test]
fn a_folder_that_others_can_write_to_is_not_used() {
    let folder = Folder::new("others");
    folder.compile(1);
    let expected = folder.fill();
    let mode = |mode| {
        std::fs::set_permissions(folder.cache(), std::fs::Permissions::from_mode(mode))
            .expect("it is ours");
    };
    mode(0o777);
    assert_eq!(folder.run(WORK), (expected, 0));
    assert!(folder.info().ends_with("cannot be used: others can write to it"), "{}", folder.info());
    mode(0o700);
    assert!(folder.info().contains(" files, "), "{}", folder.info());
    assert!(folder.run(WORK).1 > 20);
}

#[test]
fn atoms_of_earlier_runs_do_not_exist() {
    let folder = Folder::new("atoms");
    folder.compile(1);
    folder.fill();
    // Put together so that the expression does not name it.
    let exists = "io:format(\"~p~n\", [catch list_to_existing_atom(\"an_atom_of_\" ++ \"the_worker\") =:= x])";
    assert!(folder.run(exists).0.contains("badarg"));
    assert_eq!(folder.run(&format!("worker:run(3), {exists}")).0, "false\n");
}

/// The calls of a function with code from an earlier run are not counted, and that code may end
/// where the function calls another.
#[test]
#[cfg(target_arch = "x86_64")]
fn what_an_earlier_run_left_out_of_a_function_is_compiled() {
    let folder = Folder::new("returns");
    folder.compile_one("returns", 1);
    folder.run("returns:run(30000000, 100000000)");
    // Too few samples for the optimising compiler.
    let (printed, pieces) = folder.run_with(
        &["--engine=tiered:1000000", "--jit-dump"],
        "returns:run(20000, 1), io:format(\"~s\", [os:getpid()])",
    );
    assert!(pieces > 0, "nothing came from the earlier run");
    let map = PathBuf::from(format!("/tmp/perf-{printed}.map"));
    let listed = std::fs::read_to_string(&map).expect("the map of machine code is there");
    std::fs::remove_file(&map).expect("it is ours");
    let pieces: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.split_once("returns:run/3+"))
        .map(|(_, at)| at)
        .collect();
    assert!(pieces.contains(&"0"), "its entry has no machine code: {pieces:?}");
    assert!(pieces.iter().any(|at| *at != "0"), "nothing else has machine code: {pieces:?}");
}
