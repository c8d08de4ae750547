//! Everything that OTP's and Elixir's compilers wrote, and mutations of it.

use super::*;
use std::path::{Path, PathBuf};

fn modules_below(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(directory)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "beam") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn parse(path: &Path) -> BeamFile {
    let bytes = std::fs::read(path).unwrap();
    BeamFile::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where modules of OTP and Elixir are: the system's, and those of later releases that `script/otp`
/// has put under `target`.
fn module_roots() -> Vec<PathBuf> {
    let roots = |root: &Path| ["erlang/lib", "elixir"].map(|name| root.join("usr/lib").join(name));
    let later = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/otp");
    let releases =
        std::fs::read_dir(later).into_iter().flatten().flatten().map(|entry| entry.path());
    // `script/debian-modules` names a folder.
    let more = std::env::var_os("SWARMRT_TEST_MODULES").map(PathBuf::from);
    std::iter::once(PathBuf::from("/"))
        .chain(releases)
        .flat_map(|root| roots(&root))
        .chain(more)
        .collect()
}

#[test]
fn accepts_every_module_of_otp() {
    let (mut accepted, mut refused) = (0, Vec::new());
    for root in module_roots() {
        for path in modules_below(&root.to_string_lossy()) {
            match verify(&parse(&path)) {
                Ok(()) => accepted += 1,
                Err(error) => refused.push(format!("{}: {error}", path.display())),
            }
        }
    }
    assert!(accepted > 0, "OTP is installed");
    assert!(
        refused.is_empty(),
        "{accepted} accepted, {} refused:\n{}",
        refused.len(),
        refused.join("\n")
    );
}

/// Xorshift: the same mutations every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn number(&mut self) -> usize {
        match self.below(4) {
            0 => self.below(4),
            1 => self.below(70),
            2 => self.below(3000),
            _ => 1 << self.below(40),
        }
    }

    fn operand(&mut self) -> Operand {
        let number = self.number();
        match self.below(13) {
            0 => Unsigned(number as u64),
            1 => Int(number as i64),
            2 => Operand::BigInt(vec![1; number % 20].into()),
            3 => Atom(number as u32),
            4 => Nil,
            5 => X(number as u16),
            6 => Y(number as u16),
            7 => Operand::Float(number as u16),
            8 => Label(number as u32),
            9 => Operand::Literal(number as u32),
            10 => Operand::TypedX(number as u16, self.below(20) as u32),
            11 => List((0..number % 8).map(|_| X(self.below(3) as u16)).collect()),
            _ => Operand::AllocList(vec![(AllocKind::Words, number as u64)]),
        }
    }

    /// A nearby operand of the same kind, or any.
    fn mutate(&mut self, operand: &mut Operand) {
        let near = |random: &mut Random, value: u64| {
            value.wrapping_add(random.below(5) as u64).saturating_sub(2)
        };
        match operand {
            List(elements) if !elements.is_empty() && self.below(8) != 0 => {
                let chosen = self.below(elements.len());
                self.mutate(&mut elements[chosen]);
            }
            Unsigned(value) if self.below(3) != 0 => *value = near(self, *value),
            X(register) | Y(register) if self.below(3) != 0 => {
                *register = near(self, u64::from(*register)) as u16;
            }
            Label(label) if self.below(3) != 0 => *label = near(self, u64::from(*label)) as u32,
            other => *other = self.operand(),
        }
    }
}

fn mutate_op(random: &mut Random, op: &mut Op) {
    match random.below(12) {
        0 => op.opcode = Opcode::from_number(1 + random.below(184) as u8).unwrap(),
        1 => op.args = op.args.iter().skip(1).cloned().collect(),
        _ if op.args.is_empty() => {}
        _ => {
            let chosen = random.below(op.args.len());
            random.mutate(&mut op.args.as_mut_slice()[chosen]);
        }
    }
}

#[test]
fn mutated_modules_do_not_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for path in modules_below("/usr/lib/erlang/lib") {
        let mut file = parse(&path);
        if file.code.ops.len() > 1500 || random.below(3) != 0 {
            continue;
        }
        for _ in 0..60 {
            let mutated: Vec<(usize, Op)> = (0..=random.below(3))
                .map(|_| {
                    let position = random.below(file.code.ops.len());
                    let original = file.code.ops[position].clone();
                    mutate_op(&mut random, &mut file.code.ops[position]);
                    (position, original)
                })
                .collect();
            match verify(&file) {
                Ok(()) => {
                    accepted += 1;
                    // It may be refused here, too, in words.
                    let _ = crate::specialise::tests::translate(&file);
                }
                Err(error) => {
                    assert!(!error.to_string().contains('\n'));
                    refused += 1;
                }
            }
            for (position, original) in mutated.into_iter().rev() {
                file.code.ops[position] = original;
            }
        }
        verify(&file).unwrap();
    }
    // Many mutations are harmless (another constant, another defined register), but not most.
    assert!(accepted <= refused, "{accepted} accepted, {refused} refused");
}
