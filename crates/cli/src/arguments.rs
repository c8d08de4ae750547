//! The command line: its options, commands, help texts, and how it is read.
//!
//! It is read in two steps, because some commands hand their arguments to another program
//! untouched. [`Head`] reads the options before the first word. If that word is such a command, or
//! a file, the arguments behind it are taken as they are; otherwise all words are read by [`Cli`],
//! which knows each command's own options. Starting a program therefore costs one small parser, not
//! the whole one.

use crate::failure::{EXIT_USAGE, Failure};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const ABOUT: &str =
    "SwarmRT runs Erlang, Elixir and Gleam programs: a BEAM virtual machine written in Rust";

const EXAMPLES: &str = "\
Examples:
  swarmrt hello.erl World          compile and run a program
  swarmrt shell                    the Erlang shell
  swarmrt new counter              make a project; then: swarmrt test counter
  swarmrt exec iex                 run a tool that starts `erl`
  swarmrt doctor                   find out why something does not work

FILE is an .erl, .beam, .S, .ex or .exs file or an escript. Exit codes: see docs/command-line.md.";

#[derive(Parser)]
#[command(
    name = "swarmrt",
    version,
    about = ABOUT,
    after_help = EXAMPLES,
    override_usage = "swarmrt [OPTIONS] FILE [ARGS]...\n       swarmrt [OPTIONS] COMMAND",
    subcommand_required = true,
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command accepts.
#[derive(Args, Default)]
#[command(next_help_heading = "Machine options")]
pub struct Options {
    /// Folder of the Erlang/OTP to use (default: `SWARMRT_OTP_ROOT`, then the usual places)
    #[arg(long, value_name = "DIR", global = true, value_hint = ValueHint::DirPath)]
    pub otp_root: Option<PathBuf>,
    /// What runs the code: tiered (default), interp, baseline, baseline:CALLS, jit, jit:MODULES,
    /// tiered:SAMPLES
    #[arg(long, value_name = "ENGINE", global = true)]
    pub engine: Option<String>,
    /// Where machine code is kept from run to run (default: ~/.cache/swarmrt), or `off`
    #[arg(long, value_name = "DIR|off", global = true, value_hint = ValueHint::DirPath)]
    pub code_cache: Option<PathBuf>,
    /// How much machine code there may be at a time, such as 64M
    #[arg(long, value_name = "BYTES", global = true)]
    pub jit_code_max: Option<String>,
    /// Write a map of machine code for `perf`
    #[arg(long, global = true)]
    pub jit_dump: bool,
    /// Print at the end what the native engine has done
    #[arg(long, global = true)]
    pub jit_stats: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a program: .erl, .beam, .S, .ex, .exs or an escript
    #[command(after_help = "\
Calls main/1 of the module with ARGS as strings, or main/0. `run` may be left out.

Examples:
  swarmrt run hello.erl World
  swarmrt run --engine=interp hello.beam
  swarmrt run script.exs a b       through Elixir, which has to be installed")]
    Run {
        /// The program
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        rest: Rest,
    },
    /// Start the Erlang shell
    #[command(after_help = "Takes the flags of `erl`.\n\nExample:\n  swarmrt shell -pa ebin")]
    Shell(Rest),
    /// Make a new OTP application with a supervisor, a server and a test
    #[command(after_help = "\
Example:
  swarmrt new counter
  swarmrt test counter")]
    New {
        /// Its name: small letters, digits and `_`, as the name of an application is
        name: String,
    },
    /// Run the tests of a project: eunit, `common_test` or `ExUnit`
    #[command(after_help = "\
A folder with a rebar.config is tested by rebar3 (eunit, and common_test if there are suites), one with a mix.exs by
mix. In any other folder the .erl files in it and below src/ and test/ are compiled and their eunit tests run.

Examples:
  swarmrt test
  swarmrt test apps/counter
  swarmrt test . -- --seed 0           mix test --seed 0
  swarmrt test . -- ct --suite x       rebar3 ct --suite x

Exit codes: 0 all passed; 1 a test failed, or the code does not compile; 2 there is nothing to test.")]
    Test {
        /// The project
        #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
        folder: PathBuf,
        /// Arguments for rebar3, or for mix test
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Check whether everything that SwarmRT needs is there
    #[command(
        after_help = "Exit codes: 0 SwarmRT can run; 1 it cannot, and each `failed` line says what to do."
    )]
    Doctor {
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command with erl, erlc and escript being SwarmRT
    #[command(after_help = "\
Releases that the command makes or starts run on SwarmRT as well.

Examples:
  swarmrt exec rebar3 shell
  swarmrt exec mix test
  swarmrt exec iex")]
    Exec {
        /// The program to start
        #[arg(value_hint = ValueHint::CommandName)]
        command: OsString,
        #[command(flatten)]
        rest: Rest,
    },
    /// Start the emulator as OTP's `erl` does
    #[command(
        after_help = "All arguments are passed on.\n\nExample:\n  swarmrt erl -noshell -eval 'io:format(\"hello~n\"), halt().'"
    )]
    Erl(Rest),
    /// Compile as OTP's `erlc` does
    #[command(
        after_help = "All arguments are passed on.\n\nExample:\n  swarmrt erlc -o ebin src/hello.erl"
    )]
    Erlc(Rest),
    /// Run a script as OTP's `escript` does
    #[command(
        after_help = "All arguments are passed on.\n\nExample:\n  swarmrt escript build.escript all"
    )]
    Escript(Rest),
    /// Show the version, the OTP found, the engines, missing built-ins, and how a start goes
    Info {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the specialised instructions of a .beam file
    #[command(after_help = "\
Examples:
  swarmrt disasm lists.beam
  swarmrt disasm --native hello.beam loop/2")]
    Disasm {
        /// Show the machine code of each instruction
        #[arg(long)]
        native: bool,
        /// A .beam file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Only this function, as NAME/ARITY
        function: Option<String>,
    },
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  swarmrt completions bash > ~/.local/share/bash-completion/completions/swarmrt
  swarmrt completions zsh > ~/.zfunc/_swarmrt
  swarmrt completions fish > ~/.config/fish/completions/swarmrt.fish")]
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man {
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

/// Arguments for the program that is started, as they are.
#[derive(Args)]
pub struct Rest {
    /// Arguments that are passed on
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub arguments: Vec<OsString>,
}

/// What stands before the first word that is no option, and everything from that word on.
#[derive(Parser)]
#[command(
    name = "swarmrt",
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    override_usage = "swarmrt [OPTIONS] FILE [ARGS]...\n       swarmrt [OPTIONS] COMMAND"
)]
struct Head {
    #[command(flatten)]
    options: Options,
    #[arg(short = 'h', long)]
    help: bool,
    #[arg(short = 'V', long)]
    version: bool,
    #[command(subcommand)]
    words: Option<Words>,
}

#[derive(Subcommand)]
enum Words {
    #[command(external_subcommand)]
    All(Vec<OsString>),
}

impl Head {
    fn read(arguments: &[OsString]) -> Result<(Head, Vec<OsString>), Failure> {
        // Most starts have no options, and need no parser for that.
        if arguments.first().is_some_and(|first| !first.as_encoded_bytes().starts_with(b"-")) {
            let head =
                Head { options: Options::default(), help: false, version: false, words: None };
            return Ok((head, arguments.to_vec()));
        }
        let program = OsString::from("swarmrt");
        let mut head = Head::try_parse_from(std::iter::once(&program).chain(arguments))
            .map_err(Failure::of_clap)?;
        let words = head.words.take().map_or(Vec::new(), |Words::All(words)| words);
        Ok((head, words))
    }
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// What is wrong with them, or the help that was asked for.
pub fn read(arguments: &[OsString]) -> Result<Cli, Failure> {
    let (head, words) = Head::read(arguments)?;
    let Some((word, rest)) = words.split_first() else {
        if head.help || head.version {
            return whole(&[if head.help { "--help" } else { "--version" }.into()]);
        }
        let next = "swarmrt FILE runs a program, swarmrt --help lists the commands";
        return Err(Failure::new("no command").next(next).code(EXIT_USAGE));
    };
    if head.help {
        return help(std::slice::from_ref(word));
    }
    let passed_on = Rest { arguments: rest.to_vec() };
    let command = match word.to_str() {
        Some("erl") => Command::Erl(passed_on),
        Some("erlc") => Command::Erlc(passed_on),
        Some("escript") => Command::Escript(passed_on),
        Some("shell") if !asks_for_help(rest) => Command::Shell(passed_on),
        Some("run") if !asks_for_help(rest) => return run(head.options, rest),
        Some("exec") if !asks_for_help(rest) => {
            let (command, rest) = match rest.split_first() {
                Some((first, rest)) if first == "--" => {
                    (rest.first(), rest.get(1..).unwrap_or_default())
                }
                Some((first, rest)) => (Some(first), rest),
                None => (None, rest),
            };
            let Some(command) = command else {
                return Err(Failure::new("exec needs a command")
                    .next("such as: swarmrt exec rebar3 eunit")
                    .code(EXIT_USAGE));
            };
            Command::Exec { command: command.clone(), rest: Rest { arguments: rest.to_vec() } }
        }
        Some("help") => return help(rest),
        Some(name) if is_command(name) => {
            let cli = whole(&words)?;
            return Ok(Cli { options: head.options.or(cli.options), command: cli.command });
        }
        _ if Path::new(word).exists() || looks_like_file(word) => {
            Command::Run { file: word.into(), rest: passed_on }
        }
        _ => {
            let word = word.to_string_lossy();
            let reason = format!("unknown command {word}, and no file of that name");
            return Err(unknown(&word, &reason));
        }
    };
    Ok(Cli { options: head.options, command })
}

/// `run` has options of its own before the file; what follows the file is the program's.
fn run(outer: Options, arguments: &[OsString]) -> Result<Cli, Failure> {
    let (head, words) = Head::read(arguments)?;
    let Some((file, rest)) = words.split_first() else {
        return Err(Failure::new("run needs a file")
            .next("such as: swarmrt run hello.erl World")
            .code(EXIT_USAGE));
    };
    let command = Command::Run { file: file.into(), rest: Rest { arguments: rest.to_vec() } };
    Ok(Cli { options: outer.or(head.options), command })
}

fn asks_for_help(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|first| first == "--help" || first == "-h")
}

/// `help` with the words behind it.
fn help(words: &[OsString]) -> Result<Cli, Failure> {
    if let Some(about) = words.first().map(|word| word.to_string_lossy())
        && !about.starts_with('-')
        && !is_command(&about)
    {
        return Err(unknown(&about, &format!("no help about {about}: it is no command")));
    }
    whole(&[&[OsString::from("help")], words].concat())
}

/// Reads the words with every command's options known.
fn whole(words: &[OsString]) -> Result<Cli, Failure> {
    let program = OsString::from("swarmrt");
    Cli::try_parse_from(std::iter::once(&program).chain(words)).map_err(Failure::of_clap)
}

fn is_command(name: &str) -> bool {
    name == "help" || Cli::command().find_subcommand(name).is_some()
}

/// Whether somebody who wrote this meant a file, be it there or not.
fn looks_like_file(word: &OsString) -> bool {
    let path = Path::new(word);
    path.extension().is_some() || path.components().count() > 1
}

/// How alike two words have to be (0.0 to 1.0) for one to be offered for the other.
const ALIKE_MIN: f64 = 0.75;

/// A word that should have been a command's name; offers the nearest one.
fn unknown(word: &str, reason: &str) -> Failure {
    let cli = Cli::command();
    let names =
        cli.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
    let alike = names.map(|name| (strsim::jaro_winkler(word, name), name));
    let nearest = alike
        .filter(|&(score, _)| score >= ALIKE_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let next = match nearest {
        Some((_, name)) => {
            format!("did you mean swarmrt {name}? swarmrt --help lists the commands")
        }
        None => "swarmrt --help lists the commands; a file is named by its path, such as ./NAME"
            .to_owned(),
    };
    Failure::new(reason).next(next).code(EXIT_USAGE)
}

impl Options {
    /// These options, and the inner ones where these say nothing. A value that was given nearer to
    /// the command counts.
    fn or(self, inner: Options) -> Options {
        Options {
            otp_root: inner.otp_root.or(self.otp_root),
            engine: inner.engine.or(self.engine),
            code_cache: inner.code_cache.or(self.code_cache),
            jit_code_max: inner.jit_code_max.or(self.jit_code_max),
            jit_dump: self.jit_dump || inner.jit_dump,
            jit_stats: self.jit_stats || inner.jit_stats,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn command(text: &str) -> Command {
        read(&words(text)).unwrap_or_else(|failure| panic!("{text}: {failure:?}")).command
    }

    fn failure(text: &str) -> String {
        match read(&words(text)) {
            Err(failure) => format!("{failure:?}"),
            Ok(_) => panic!("{text} is accepted"),
        }
    }

    #[test]
    fn the_definition_is_in_order() {
        Cli::command().debug_assert();
        Head::command().debug_assert();
    }

    #[test]
    fn what_is_passed_on_is_not_touched() {
        let text = "-- -noshell --help -V --engine=x -h -- --version -extra -- a";
        for name in ["erl", "erlc", "escript"] {
            match command(&format!("--jit-stats {name} {text}")) {
                Command::Erl(rest) | Command::Erlc(rest) | Command::Escript(rest) => {
                    assert_eq!(rest.arguments, words(text));
                }
                _ => panic!("{name}"),
            }
        }
        for start in ["x.erl", "run x.erl", "--engine=interp run --otp-root y x.erl"] {
            let Command::Run { file, rest } = command(&format!("{start} {text}")) else {
                panic!("{start}")
            };
            assert_eq!((file, rest.arguments), (PathBuf::from("x.erl"), words(text)));
        }
        let Command::Exec { command, rest } = command(&format!("exec mix {text}")) else {
            panic!("exec")
        };
        assert_eq!((command, rest.arguments), (OsString::from("mix"), words(text)));
    }

    #[test]
    fn options_stand_before_or_behind_a_command() {
        for text in [
            "--engine=interp info",
            "info --engine interp",
            "--engine interp run x.erl",
            "run --engine=interp x.erl",
        ] {
            let cli = read(&words(text)).unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
            assert_eq!(cli.options.engine.as_deref(), Some("interp"), "{text}");
        }
        let cli =
            read(&words("--engine=jit --jit-stats run --engine=interp x.erl")).expect("in order");
        assert_eq!((cli.options.engine.as_deref(), cli.options.jit_stats), (Some("interp"), true));
    }

    #[test]
    fn unknown_words_are_met_with_the_nearest_command() {
        for (word, near) in [
            ("docter", "doctor"),
            ("tets", "test"),
            ("inof", "info"),
            ("shel", "shell"),
            ("disassm", "disasm"),
        ] {
            for text in [word.to_owned(), format!("help {word}"), format!("--help {word}")] {
                let said = failure(&text);
                assert!(said.contains(&format!("swarmrt {near}?")), "{text}: {said}");
            }
        }
        assert!(!failure("xyzzy").contains("did you mean"));
        assert!(failure("--egine=x info").contains("--engine"));
    }

    #[test]
    fn every_command_has_help() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name}");
            let help = failure(&format!("help {name}"));
            assert!(help.contains("Usage: swarmrt"), "{name}: {help}");
        }
        for text in ["run --help", "exec --help", "shell -h", "--help run", "info --help"] {
            assert!(failure(text).contains("Usage: swarmrt"), "{text}");
        }
    }
}
