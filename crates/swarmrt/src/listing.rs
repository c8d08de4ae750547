//! What a `.beam` file becomes: specialised instructions and machine code, as text.

use swarmrt_machine::Vm;
use swarmrt_machine::vm::Config;
use swarmrt_term::Release;

/// The specialised instructions of a `.beam` file, a line each; of one function when `only` names
/// it (`name/arity`). When `native` is asked for, with the machine code that the native engine
/// makes of them.
///
/// # Errors
/// What is wrong with the file, or why there is no machine code.
pub fn disassemble(bytes: &[u8], only: Option<&str>, native: bool) -> Result<String, String> {
    use std::fmt::Write;
    let config = Config::without_threads(Release::NEWEST);
    let vm = Vm::new(config);
    let mut lister = if native {
        Some(swarmrt_jit::Lister::new(vm, &swarmrt_interp::ASSISTS).map_err(|why| why.0)?)
    } else {
        None
    };
    let module = vm.code.prepare(bytes).map_err(|error| error.0)?.0;
    let code = module.code.code();
    let functions = &module.code.functions;
    let mut text = String::new();
    for (number, function) in functions.iter().enumerate() {
        let name = format!("{}/{}", function.name, function.arity);
        if only.is_some_and(|only| only != name) {
            continue;
        }
        writeln!(text, "{name}:").map_err(|error| error.to_string())?;
        if let Some(lister) = &mut lister {
            text.push_str(
                &lister.function(&module, number).map_err(|error| format!("{name}: {error}"))?,
            );
            continue;
        }
        let end = functions.get(number + 1).map_or(code.len(), |next| next.start as usize);
        for (at, instr) in code.iter().enumerate().take(end).skip(function.start as usize) {
            writeln!(text, "{at:6}  {}", instr.listed(at as u32))
                .map_err(|error| error.to_string())?;
        }
    }
    if text.is_empty() {
        return Err(only.map_or("the module has no functions".to_owned(), |only| {
            format!("there is no function {only}")
        }));
    }
    Ok(text)
}
