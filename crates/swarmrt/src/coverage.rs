//! Which of OTP's built-ins there are here.
//!
//! OTP's own modules say which they are: the Erlang body of a built-in does nothing but call
//! `erlang:nif_error`.

use crate::Otp;
use swarmrt_beam::decode::Operand;
use swarmrt_beam::file::BeamFile;
use swarmrt_beam::genop::Opcode;

/// `module:function/arity`, and whether it exists here.
pub struct Builtin {
    pub name: String,
    pub exists: bool,
}

/// The built-ins that the modules of `erts`, `kernel` and `stdlib` leave to the machine.
///
/// # Errors
/// When the folders cannot be read.
pub fn builtins(otp: &Otp) -> std::io::Result<Vec<Builtin>> {
    let ours: std::collections::HashSet<String> = swarmrt_machine::bif::BIFS
        .iter()
        .filter(|entry| entry.exists_in(otp.release))
        .map(|entry| format!("{}:{}/{}", entry.module, entry.name, entry.arity))
        .collect();
    let mut found = Vec::new();
    for library in std::fs::read_dir(otp.root.join("lib"))? {
        let library = library?;
        let name = library.file_name().to_string_lossy().into_owned();
        if !["erts-", "kernel-", "stdlib-"].iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        for file in std::fs::read_dir(library.path().join("ebin"))? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "beam")
                && let Ok(beam) = BeamFile::parse(&std::fs::read(&path)?)
            {
                stubs(&beam, &mut found);
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found.into_iter().map(|name| Builtin { exists: ours.contains(&name), name }).collect())
}

/// The functions of a module that only raise.
fn stubs(beam: &BeamFile, found: &mut Vec<String>) {
    let module = &beam.atoms[1];
    let is_nif_error = |import: u64| {
        beam.imports.get(import as usize).is_some_and(|import| {
            beam.atoms[import.module as usize] == "erlang"
                && beam.atoms[import.function as usize] == "nif_error"
        })
    };
    let mut current: Option<(String, bool, bool)> = None;
    let mut flush = |function: Option<(String, bool, bool)>| {
        if let Some((name, true, false)) = function {
            found.push(name);
        }
    };
    for op in &beam.code.ops {
        match op.opcode {
            Opcode::FuncInfo => {
                flush(current.take());
                if let (Operand::Atom(name), Operand::Unsigned(arity)) = (&op.args[1], &op.args[2])
                {
                    current = Some((
                        format!("{module}:{}/{arity}", beam.atoms[*name as usize]),
                        false,
                        false,
                    ));
                }
            }
            Opcode::CallExt | Opcode::CallExtOnly | Opcode::CallExtLast => {
                if let (Some(function), Operand::Unsigned(import)) = (&mut current, &op.args[1]) {
                    if is_nif_error(*import) { function.1 = true } else { function.2 = true }
                }
            }
            Opcode::Call
            | Opcode::CallOnly
            | Opcode::CallLast
            | Opcode::IsTuple
            | Opcode::SelectVal => {
                if let Some(function) = &mut current {
                    function.2 = true;
                }
            }
            _ => {}
        }
    }
    flush(current);
}
