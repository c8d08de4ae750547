//! Elixir's programs under SwarmRT: `swarmrt exec elixir …` and what comes with it.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs a program of Elixir in a folder; its output.
fn exec(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(common::swarmrt());
    command
        .arg("exec")
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("MIX_ENV", "test");
    let output = common::run_within(&mut command, Duration::from_mins(2));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{arguments:?}: {}\n{text}", output.status);
    text
}

/// A folder for one test, gone afterwards.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("swarmrt-elixir-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder can be made");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn require_elixir() {
    assert!(
        Command::new("elixir").arg("--version").output().is_ok(),
        "elixir is not installed: run script/setup"
    );
}

#[test]
fn an_expression_is_evaluated() {
    require_elixir();
    let folder = Folder::new("expression");
    assert_eq!(exec(&folder.0, &["elixir", "-e", "IO.puts(Enum.sum(1..10))"]), "55\n");
    // An expression that Elixir's own modules have compiled into them by another library.
    let program = r#"IO.inspect {Regex.run(~r/b+/, "abbc"), String.split("a, b", ~r/,\s*/), Version.match?("1.2.3", "~> 1.0")}"#;
    assert_eq!(exec(&folder.0, &["elixir", "-e", program]), "{[\"bb\"], [\"a\", \"b\"], true}\n");
    let failing = r#"try do String.to_integer("x") rescue e -> IO.puts Exception.message(e) end"#;
    assert!(
        exec(&folder.0, &["elixir", "-e", failing])
            .contains("not a textual representation of an integer")
    );
}

#[test]
fn a_script_with_processes_and_a_struct_runs() {
    require_elixir();
    let folder = Folder::new("script");
    let script = r#"
defmodule Point do
  defstruct x: 0, y: 0
  defimpl String.Chars do
    def to_string(point), do: "(#{point.x}, #{point.y})"
  end
end
{:ok, agent} = Agent.start_link(fn -> struct(Point, []) end)
Agent.update(agent, &Map.put(&1, :x, 3))
IO.puts Agent.get(agent, & &1)
1..4 |> Task.async_stream(&(&1 * &1)) |> Enum.map(&elem(&1, 1)) |> IO.inspect()
IO.inspect Enum.reduce(Stream.take(Stream.iterate(1, &(&1 * 2)), 70), &+/2)
"#;
    std::fs::write(folder.0.join("script.exs"), script).expect("written");
    assert_eq!(
        exec(&folder.0, &["elixir", "script.exs"]),
        "(3, 0)\n[1, 4, 9, 16]\n1180591620717411303423\n"
    );
}

#[test]
fn a_project_is_made_formatted_tested_and_released() {
    require_elixir();
    let folder = Folder::new("project");
    exec(&folder.0, &["mix", "new", "sample"]);
    let project = folder.0.join("sample");
    exec(&project, &["mix", "format", "--check-formatted"]);
    assert!(exec(&project, &["mix", "test"]).contains("1 doctest, 1 test, 0 failures"));
    let covered = exec(&project, &["mix", "test", "--cover"]);
    assert!(covered.contains("100.00% | Sample"), "{covered}");
    exec(&project, &["mix", "xref", "graph"]);
    // Without a cookie given, Mix asks the native library of `crypto` for one.
    let mix = std::fs::read_to_string(project.join("mix.exs")).expect("made above");
    let mix = mix.replace("deps: deps()", "deps: deps(), releases: [sample: [cookie: \"secret\"]]");
    std::fs::write(project.join("mix.exs"), mix).expect("written");
    exec(&project, &["mix", "release"]);
    // The release brings SwarmRT along: it needs no `swarmrt exec` to run.
    let mut release = Command::new(project.join("_build/test/rel/sample/bin/sample"));
    release.args(["eval", "IO.puts(:erlang.system_info(:system_version))"]).env("HOME", &folder.0);
    let output = common::run(&mut release);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.starts_with("SwarmRT "),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
