//! Every program in `examples/` prints what stands in `examples/expected/`.

mod common;

#[test]
fn examples_print_what_is_expected() {
    let examples = common::root().join("examples");
    let programs: Vec<_> = std::fs::read_dir(&examples)
        .expect("there are examples")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "erl"))
        .collect();
    let outcomes = common::side_by_side(&programs, common::machines_at_once(), |path| {
        let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        let expected = std::fs::read_to_string(examples.join(format!("expected/{name}.txt")))
            .expect("each example has its output");
        let output = common::run(common::swarmrt_command().arg("run").arg(path));
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (out != expected || !output.status.success())
            .then(|| format!("{name}: {}\n{out}{err}", output.status))
    });
    let failures: Vec<String> = outcomes.into_iter().flatten().collect();
    assert!(programs.len() >= 10, "only {} examples", programs.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
