//! The programs of the README print what it says, and its picture shows what the measured figures
//! are.

mod common;

use std::process::Command;

/// The code blocks of a language, in order.
fn blocks<'a>(text: &'a str, language: &'a str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    text.split(open.as_str())
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .collect()
}

#[test]
fn the_examples_print_what_stands_beside_them() {
    let readme =
        std::fs::read_to_string(common::root().join("README.md")).expect("there is a README");
    let folder = std::env::temp_dir().join(format!("swarmrt-readme-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let mut files = Vec::new();
    for block in [blocks(&readme, "erlang"), blocks(&readme, "elixir")].concat() {
        // The first line is a comment with the name of the file.
        let name =
            block.lines().next().expect("a line").trim_start_matches(['%', '#', ' ']).to_owned();
        std::fs::write(folder.join(&name), block).expect("written");
        files.push(name);
    }
    assert_eq!(files.len(), 2, "{files:?}");
    let lines: Vec<&str> = blocks(&readme, "sh").into_iter().flat_map(str::lines).collect();
    for file in files {
        let line = lines
            .iter()
            .find(|line| line.contains(&file))
            .unwrap_or_else(|| panic!("{file} is not run"));
        let (command, expected) = line.split_once('#').expect("the output stands behind it");
        let arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        let output =
            common::run(Command::new(common::swarmrt()).args(arguments).current_dir(&folder));
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            expected.trim(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn the_chart_is_that_of_the_figures() {
    let fresh = std::env::temp_dir().join(format!("swarmrt-chart-{}.svg", std::process::id()));
    let drawn =
        common::run(Command::new(common::root().join("script/bench")).arg("--chart").arg(&fresh));
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("drawn");
    let picture = read(&common::root().join("docs/images/benchmark.svg"));
    assert_eq!(read(&fresh), picture, "run script/bench --chart");
    assert!(picture.matches("<rect").count() > 80, "a bar for each program and run");
    let _ = std::fs::remove_file(&fresh);
}
