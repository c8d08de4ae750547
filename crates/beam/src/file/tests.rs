//! Parsing what OTP's compiler wrote, and what nobody should have written.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::assemble::container;
use crate::genop::Opcode;

/// The modules of some OTP applications, or none where OTP is not installed.
fn installed(applications: &[&str]) -> Vec<PathBuf> {
    let Ok(libraries) = std::fs::read_dir("/usr/lib/erlang/lib") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for library in libraries.flatten() {
        let name = library.file_name().to_string_lossy().into_owned();
        if !applications.iter().any(|application| name.starts_with(application)) {
            continue;
        }
        let Ok(modules) = std::fs::read_dir(library.path().join("ebin")) else {
            continue;
        };
        files.extend(
            modules
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "beam")),
        );
    }
    files
}

fn parse(path: &Path) -> BeamFile {
    let bytes = std::fs::read(path).unwrap();
    BeamFile::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn parses_every_module_of_the_core_applications() {
    for path in installed(&["stdlib-", "kernel-", "compiler-"]) {
        let file = parse(&path);
        assert_eq!(Some(file.module()), path.file_stem().and_then(|stem| stem.to_str()));
        assert_eq!(file.code.ops.last().unwrap().opcode, Opcode::IntCodeEnd);
        let functions = file.code.ops.iter().filter(|op| op.opcode == Opcode::FuncInfo).count();
        assert_eq!(functions, file.code.function_count as usize);
        assert!(!file.types.is_empty() && file.types[0].bits == TYPE_ANY);
        assert!(
            file.exports.iter().any(|export| file.atoms[export.function as usize] == "module_info")
        );
        assert!(file.lines.is_some());
    }
}

#[test]
fn functions_are_the_same_one_by_one_as_all_at_once() {
    let mut memory = Vec::new();
    for path in installed(&["stdlib-", "kernel-"]) {
        let bytes = std::fs::read(&path).unwrap();
        let whole = BeamFile::parse(&bytes).unwrap();
        let (file, mut code) = BeamFile::open(&bytes, memory, None).unwrap();
        assert!(file.code.ops.is_empty());
        let (end, ops) = whole.code.ops.split_last().unwrap();
        assert_eq!(end.opcode, Opcode::IntCodeEnd);
        let mut count = 0;
        for function in crate::decode::functions(ops) {
            assert_eq!(code.next_function().unwrap(), Some(function));
            assert_eq!(function.iter().filter(|op| op.opcode == Opcode::FuncInfo).count(), 1);
            count += 1;
        }
        assert_eq!(code.next_function().unwrap(), None);
        assert_eq!(count, file.code.function_count);
        memory = code.into_ops();
    }
}

#[test]
fn md5_is_that_of_beam_lib() {
    let modules = ["lists", "gen_server", "erl_scan", "beam_asm", "code", "maps"];
    for path in installed(&["stdlib-", "kernel-", "compiler-"]) {
        if !modules.contains(&path.file_stem().unwrap().to_str().unwrap()) {
            continue;
        }
        let program = format!(
            "{{ok,{{_,M}}}} = beam_lib:md5({:?}), io:put_chars(binary:encode_hex(M)), halt().",
            path.display().to_string()
        );
        let Ok(output) = Command::new("erl").args(["-noshell", "-eval", &program]).output() else {
            return;
        };
        let md5: String = parse(&path).md5.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(md5, String::from_utf8_lossy(&output.stdout), "{}", path.display());
    }
}

#[test]
fn a_compressed_file_is_the_same_module() {
    for path in installed(&["stdlib-"]).into_iter().take(3) {
        let bytes = std::fs::read(&path).unwrap();
        let mut packed = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(&bytes[..], flate2::Compression::fast());
        encoder.read_to_end(&mut packed).unwrap();
        let (plain, unpacked) =
            (BeamFile::parse(&bytes).unwrap(), BeamFile::parse(&packed).unwrap());
        assert_eq!(plain.md5, unpacked.md5);
        assert_eq!(plain.code.ops, unpacked.code.ops);
        packed.truncate(packed.len() / 2);
        let error = BeamFile::parse(&packed).unwrap_err();
        assert_eq!(error.to_string(), "beam file, byte 0: the compressed data is corrupt");
    }
}

#[test]
fn corrupt_files_are_refused_or_parsed_but_never_panic() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let files = installed(&["stdlib-"]);
    for path in files.iter().filter(|path| path.metadata().is_ok_and(|meta| meta.len() < 40_000)) {
        let bytes = std::fs::read(path).unwrap();
        for _ in 0..100 {
            let mut corrupt = bytes.clone();
            for _ in 0..=(next() % 4) {
                let position = next() % corrupt.len();
                corrupt[position] = next() as u8;
            }
            if next() % 8 == 0 {
                corrupt.truncate(next() % bytes.len());
            }
            let _ = BeamFile::parse(&corrupt);
        }
    }
}

#[test]
fn every_prefix_of_a_file_is_refused() {
    let Some(path) =
        installed(&["stdlib-"]).into_iter().min_by_key(|path| path.metadata().unwrap().len())
    else {
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    for length in 0..bytes.len() {
        BeamFile::parse(&bytes[..length]).unwrap_err();
    }
}

fn words(words: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut data: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    data.extend_from_slice(bytes);
    data
}

/// A module of nothing but instructions.
fn module(instructions: &[u8]) -> Vec<u8> {
    container(&[
        (b"AtU8", words(&[1], b"\x01m")),
        (b"Code", words(&[16, 0, 170, 1, 0], instructions)),
        (b"ImpT", words(&[0], b"")),
        (b"ExpT", words(&[0], b"")),
    ])
}

fn first_operand(bytes: &[u8]) -> Result<Operand, String> {
    // move Operand, X0; int_code_end
    let code = [&[64], bytes, &[0x03, 3]].concat();
    let file = BeamFile::parse(&module(&code)).map_err(|error| error.to_string())?;
    Ok(file.code.ops[0].args[0].clone())
}

#[test]
fn operands() {
    assert_eq!(first_operand(&[0x11]), Ok(Operand::Int(1)));
    assert_eq!(first_operand(&[0xe9, 0xff]), Ok(Operand::Int(0x7ff)));
    assert_eq!(first_operand(&[0x19, 0xff, 0xfe]), Ok(Operand::Int(-2)));
    assert_eq!(first_operand(&[0xd9, 0x80, 0, 0, 0, 0, 0, 0, 0]), Ok(Operand::Int(i64::MIN)));
    let big = [0xf9, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(first_operand(&big), Ok(Operand::BigInt(big[2..].into())));
    let padded = [0xf9, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(first_operand(&padded), Ok(Operand::Int(7)));
    assert_eq!(first_operand(&[0x02]), Ok(Operand::Nil));
    assert_eq!(first_operand(&[0x12]), Ok(Operand::Atom(1)));
    assert_eq!(first_operand(&[0x7b & 0xf7]), Ok(Operand::X(7)));
    assert_eq!(first_operand(&[0x27, 0x30]), Ok(Operand::Float(3)));
    // Without a type table the type is dropped.
    assert_eq!(first_operand(&[0x57, 0x14, 0x90]), Ok(Operand::Y(1)));
    assert_eq!(
        first_operand(&[0x37, 0x20, 0x00, 0x50, 0x10, 0x20]),
        Ok(Operand::AllocList(vec![(AllocKind::Words, 5), (AllocKind::Floats, 2)]))
    );
    assert_eq!(
        first_operand(&[0x17, 0x20, 0x13, 0x02]),
        Ok(Operand::List(Box::new([Operand::X(1), Operand::Nil])))
    );
}

#[test]
fn bad_operands_are_named() {
    let refused = |bytes: &[u8]| first_operand(bytes).unwrap_err();
    let place = "Code chunk (instructions), byte 1: ";
    assert_eq!(refused(&[0x22]), format!("{place}atom 2 does not exist, there are 2"));
    assert_eq!(
        refused(&[0x1b, 0xff, 0xff]),
        format!("{place}X register 65535 is out of range, the limit is 1023")
    );
    assert_eq!(refused(&[0x47, 0x00]), format!("{place}literal 0 does not exist, there are 0"));
    assert_eq!(refused(&[0x07]), format!("{place}unknown extended operand tag 0"));
    // A list in a list.
    assert_eq!(
        refused(&[0x17, 0x10, 0x17, 0x00]),
        "Code chunk (instructions), byte 3: unknown extended operand tag 1"
    );
}

#[test]
fn bad_files_are_named() {
    let refused = |bytes: &[u8]| BeamFile::parse(bytes).unwrap_err().to_string();
    assert_eq!(refused(b""), "beam file, byte 0: not a beam file: it does not begin with FOR1");
    assert_eq!(refused(&container(&[])), "AtU8 chunk, byte 0: the mandatory chunk is missing");
    assert_eq!(
        refused(&module(&[70, 0x20, 0x03, 3])),
        "Code chunk (instructions), byte 0: instruction put_tuple was last emitted by the compiler of OTP 21; \
         compile the module again"
    );
    assert_eq!(
        refused(&module(&[200])),
        "Code chunk (instructions), byte 0: unknown instruction 200"
    );
    assert_eq!(
        refused(&module(&[19])),
        "Code chunk (instructions), byte 1: the code does not end with int_code_end"
    );
    let atoms = container(&[(b"AtU8", words(&[0x7fff_ffff], b"\x01m"))]);
    assert_eq!(
        refused(&atoms),
        "AtU8 chunk, byte 0: 2147483647 atoms cannot fit into the 2 bytes left"
    );
    let literals =
        container(&[(b"AtU8", words(&[1], b"\x01m")), (b"LitT", words(&[0xffff_ffff], b"xx"))]);
    assert_eq!(
        refused(&literals),
        "LitT chunk, byte 0: the decompressed data would exceed 268435456 bytes"
    );
}

#[test]
fn the_formats_of_otp_28() {
    let bytes = container(&[
        (b"AtU8", words(&[(-2i32) as u32], b"\x10m\x09\x02\xc3\xa9")),
        (b"Code", words(&[16, 0, 170, 1, 0], &[3])),
        (b"ImpT", words(&[0], b"")),
        (b"ExpT", words(&[0], b"")),
        (b"LitT", words(&[0, 1, 2], b"\x83\x6a")),
        (
            b"Type",
            words(
                &[3, 2],
                &[
                    0x0f, 0xff, 0x70, 0x22, 255, 255, 255, 255, 255, 255, 255, 254, 0, 0, 0, 0, 0,
                    0, 0, 9, 7,
                ],
            ),
        ),
    ]);
    // The length of the second atom takes the longer form, which only a long atom would need.
    let error = BeamFile::parse(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "AtU8 chunk, byte 6: expected an unsigned number, found an operand with tag 1"
    );
    let mut bytes = bytes;
    let position = bytes.iter().position(|byte| *byte == 0x09).unwrap();
    bytes[position] = 0x08;
    let file = BeamFile::parse(&bytes).unwrap();
    assert_eq!(file.atoms, ["", "m", "é"]);
    assert_eq!(file.literals, [[131, 106]]);
    assert_eq!(file.types[0], TypeEntry { bits: TYPE_ANY, min: None, max: None, unit: None });
    let bits = TYPE_INTEGER | TYPE_BITSTRING | TYPE_BS_CONTEXT;
    assert_eq!(file.types[1], TypeEntry { bits, min: Some(-2), max: Some(9), unit: Some(8) });
}
