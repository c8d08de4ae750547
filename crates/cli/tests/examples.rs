//! Every program in `examples/` prints what stands in `examples/expected/`.

mod common;

#[test]
fn examples_print_what_is_expected() {
    let examples = common::root().join("examples");
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(&examples).expect("there are examples") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "erl") {
            continue;
        }
        count += 1;
        let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        let expected = std::fs::read_to_string(examples.join(format!("expected/{name}.txt")))
            .expect("each example has its output");
        let output = common::run(common::swarmrt_command().arg("run").arg(&path));
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if out != expected || !output.status.success() {
            failures.push(format!("{name}: {}\n{out}{err}", output.status));
        }
    }
    assert!(count >= 10, "only {count} examples");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
