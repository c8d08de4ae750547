//! Makes `.beam` files of modules whose functions all have native bodies.

/// A function of such a module. All are exported.
#[derive(Clone, Copy, Debug)]
pub struct NativeFunction<'a> {
    pub name: &'a str,
    pub arity: u8,
}

/// Operand tags of the compact term encoding.
const UNSIGNED: u8 = 0;
const ATOM: u8 = 2;
const X: u8 = 3;

const LABEL: u8 = 1;
const FUNC_INFO: u8 = 2;
const INT_CODE_END: u8 = 3;
const MOVE: u8 = 64;
const CALL_EXT_ONLY: u8 = 78;
/// The highest opcode that is used.
const OPCODE_MAX: u32 = CALL_EXT_ONLY as u32;

/// Numbers of the imports.
const NIF_ERROR: u32 = 0;
const IMPORTS: [(&str, u32); 2] = [("nif_error", 1), ("load_nif", 2)];

fn operand(code: &mut Vec<u8>, tag: u8, value: u32) {
    match value {
        0..16 => code.push((value as u8) << 4 | tag),
        16..2048 => code.extend([((value >> 3) as u8) & 0xe0 | 0x08 | tag, value as u8]),
        _ => {
            // Four bytes, so that none is taken for a sign.
            code.push(2 << 5 | 0x18 | tag);
            code.extend(value.to_be_bytes());
        }
    }
}

/// Atoms of the file, by their numbers from 1.
#[derive(Default)]
struct Atoms<'a>(Vec<&'a str>);

impl<'a> Atoms<'a> {
    fn number(&mut self, name: &'a str) -> u32 {
        let at = self.0.iter().position(|&known| known == name).unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        });
        at as u32 + 1
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A module in which every function may have a native body, and fails with `not_loaded` until it
/// has.
///
/// # Panics
/// When a name has more than 255 bytes.
pub fn native_module(name: &str, functions: &[NativeFunction<'_>]) -> Vec<u8> {
    let mut atoms = Atoms::default();
    let module = atoms.number(name);
    let erlang = atoms.number("erlang");
    let reason = atoms.number("not_loaded");
    let mut code = Vec::new();
    let mut exports = Vec::new();
    for (number, function) in (0..).zip(functions) {
        let [info, entry] = [1, 2].map(|label| 2 * number + label);
        let atom = atoms.number(function.name);
        code.push(LABEL);
        operand(&mut code, UNSIGNED, info);
        code.push(FUNC_INFO);
        operand(&mut code, ATOM, module);
        operand(&mut code, ATOM, atom);
        operand(&mut code, UNSIGNED, function.arity.into());
        code.push(LABEL);
        operand(&mut code, UNSIGNED, entry);
        code.push(MOVE);
        operand(&mut code, ATOM, reason);
        operand(&mut code, X, 0);
        code.push(CALL_EXT_ONLY);
        operand(&mut code, UNSIGNED, 1);
        operand(&mut code, UNSIGNED, NIF_ERROR);
        exports.extend([atom, function.arity.into(), entry]);
    }
    code.push(INT_CODE_END);
    let count = functions.len() as u32;
    let header = words(&[16, 0, OPCODE_MAX, 2 * count + 1, count]);
    let imports: Vec<u32> = IMPORTS
        .iter()
        .flat_map(|&(function, arity)| [erlang, atoms.number(function), arity])
        .collect();
    let mut names = words(&[atoms.0.len() as u32]);
    for name in &atoms.0 {
        names.push(
            u8::try_from(name.len())
                .expect("names of modules and functions have at most 255 bytes"),
        );
        names.extend(name.as_bytes());
    }
    let chunks = [
        (b"AtU8", names),
        (b"Code", [header, code].concat()),
        (b"StrT", Vec::new()),
        (b"ImpT", [words(&[IMPORTS.len() as u32]), words(&imports)].concat()),
        (b"ExpT", [words(&[count]), words(&exports)].concat()),
    ];
    container(&chunks)
}

/// A file of these chunks.
pub(crate) fn container(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"BEAM".to_vec();
    for (id, data) in chunks {
        body.extend(&id[..]);
        body.extend((data.len() as u32).to_be_bytes());
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    [b"FOR1".to_vec(), (body.len() as u32).to_be_bytes().to_vec(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::BeamFile;

    #[test]
    fn a_module_of_many_functions_is_read_back() {
        let names: Vec<String> = (0..1500).map(|number| format!("f{number}")).collect();
        let functions: Vec<NativeFunction<'_>> =
            names.iter().map(|name| NativeFunction { name, arity: 3 }).collect();
        let file = BeamFile::parse(&native_module("many", &functions)).expect("a module");
        assert_eq!(file.module(), "many");
        assert_eq!(file.code.function_count, 1500);
        assert_eq!(file.exports.len(), 1500);
    }
}
