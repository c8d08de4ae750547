//! `swarmrt new`: a project to begin with.

use crate::erl::show;
use crate::failure::Failure;
use std::io::Write;
use std::path::Path;
use swarmrt::Otp;

/// Where each file of a project goes, and its text; `{{name}}` stands for the project's name in
/// both.
const FILES: [(&str, &str); 8] = [
    ("rebar.config", include_str!("../templates/project/rebar.config")),
    ("README.md", include_str!("../templates/project/README.md")),
    (".gitignore", include_str!("../templates/project/gitignore")),
    ("src/{{name}}.app.src", include_str!("../templates/project/app.src")),
    ("src/{{name}}_app.erl", include_str!("../templates/project/app.erl")),
    ("src/{{name}}_sup.erl", include_str!("../templates/project/sup.erl")),
    ("src/{{name}}_server.erl", include_str!("../templates/project/server.erl")),
    ("test/{{name}}_server_tests.erl", include_str!("../templates/project/tests.erl")),
];

const PLACEHOLDER: &str = "{{name}}";

/// Makes a project in a new folder of the current one.
pub fn new(name: &str) -> Result<i32, Failure> {
    check(name)?;
    let root = Path::new(name);
    std::fs::create_dir(root).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(format!("{name}: there is a file or folder of that name already"))
                .next("choose another name, or another place")
        }
        _ => Failure::of_file(root, &error),
    })?;
    for (path, text) in FILES {
        let path = root.join(path.replace(PLACEHOLDER, name));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| Failure::of_file(folder, &error))?;
        }
        // Only what is not there yet is written, whoever else may be busy in the folder.
        let file = std::fs::File::create_new(&path);
        let written =
            file.and_then(|mut file| file.write_all(text.replace(PLACEHOLDER, name).as_bytes()));
        written.map_err(|error| Failure::of_file(&path, &error))?;
    }
    show(&format!(
        "{name} is made: an application, its supervisor, a server and a test\n  next: swarmrt test {name}\n"
    ));
    Ok(0)
}

/// Letters that a name may have; it is also the beginning of the names of files.
const NAME_MAX: usize = 60;

/// Words that are no atoms unless they are quoted.
const RESERVED: [&str; 29] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case",
    "catch", "cond", "div", "else", "end", "fun", "if", "let", "maybe", "not", "of", "or",
    "orelse", "receive", "rem", "try", "when", "xor",
];

fn check(name: &str) -> Result<(), Failure> {
    let bad = |why: &str| {
        let next = "such as: swarmrt new my_counter";
        Failure::new(format!("{name:?} cannot be the name of an application: {why}")).next(next)
    };
    let is_word =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.chars().all(is_word) {
        return Err(bad("it begins with a small letter, and has small letters, digits and _ only"));
    }
    if name.len() > NAME_MAX {
        return Err(bad(&format!("it has more than {NAME_MAX} letters")));
    }
    if RESERVED.contains(&name) {
        return Err(bad("it is a word of the language"));
    }
    let prefix = format!("{name}-");
    let is_library = |otp: Otp| {
        let entries = std::fs::read_dir(otp.root.join("lib")).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
    };
    if Otp::find(None).is_ok_and(is_library) {
        return Err(bad("OTP has an application of that name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_applications() {
        for good in ["a", "counter", "my_counter2"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = "a".repeat(NAME_MAX + 1);
        for bad in [
            "", "Counter", "2x", "_x", "a-b", "a b", "a/b", "../x", "größe", "receive", "try",
            "xor", "kernel", &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_placeholder_is_left() {
        for (path, text) in FILES {
            let (path, text) = (path.replace(PLACEHOLDER, "x"), text.replace(PLACEHOLDER, "x"));
            assert!(!path.contains("name}") && !text.contains("name}"), "{path}");
        }
    }
}
