//! What a piece does with the machine's stack.
//!
//! Cranelift gives each function a frame: two instructions to make it, and two to take it down
//! before every tail call. A piece that keeps nothing on the machine's stack needs none. Its code
//! is entered behind the making, and its tail calls lose the taking down; the offsets at which they
//! end are known exactly. So that such a piece may call functions of the machine, pieces are
//! entered with the stack as those want it at a call, eight bytes away from how functions are
//! entered ([`pad`]); those that do keep something there get eight bytes more.

use cranelift_codegen::Context;
use cranelift_codegen::ir::Opcode;

/// `push rbp; mov rbp, rsp`.
const MAKE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
/// `mov rsp, rbp; pop rbp`.
const TAKE_DOWN: [u8; 4] = [0x48, 0x89, 0xec, 0x5d];
/// `jmp r10`, by which all tail calls go.
const JUMP: [u8; 3] = [0x41, 0xff, 0xe2];
/// `int3`, for what is never reached.
const TRAP: u8 = 0xcc;
/// `sub rsp, …`, a byte or four.
const MAKE_ROOM_BYTE: [u8; 3] = [0x48, 0x83, 0xec];
const MAKE_ROOM: [u8; 3] = [0x48, 0x81, 0xec];

/// Numbers of calls, of tail calls and of other returns in a function.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    calls: usize,
    tail_calls: usize,
    returns: usize,
}

/// Machine code that calls the piece whose address is in the state, with the stack as pieces want
/// it; `code_offset` is where the address lies. `None` where pieces are entered like functions.
pub fn pad(code_offset: i32) -> Option<Vec<u8>> {
    // `call [r15 + offset]; ret`: one return address more is on the stack.
    cfg!(target_arch = "x86_64")
        .then(|| [[0x41, 0xff, 0x97].as_slice(), &code_offset.to_le_bytes(), &[0xc3]].concat())
}

/// The machine code of a compiled piece without the frame that Cranelift gives it, and the offset
/// at which it is entered.
///
/// # Errors
/// When the code is not what is known of Cranelift's.
pub fn adapted(context: &Context) -> Result<(Vec<u8>, usize), String> {
    let compiled = context.compiled_code().ok_or("not compiled")?;
    if !compiled.buffer.relocs().is_empty() {
        return Err(format!("relocations: {:?}", compiled.buffer.relocs()));
    }
    let function = &context.func;
    let mut counts = Counts::default();
    for inst in function.layout.blocks().flat_map(|block| function.layout.block_insts(block)) {
        match function.dfg.insts[inst].opcode() {
            Opcode::CallIndirect => counts.calls += 1,
            Opcode::ReturnCallIndirect => counts.tail_calls += 1,
            Opcode::Return => counts.returns += 1,
            _ => {}
        }
    }
    let mut bytes = compiled.code_buffer().to_vec();
    if !cfg!(target_arch = "x86_64") {
        return Ok((bytes, 0));
    }
    let ends: Vec<usize> =
        compiled.buffer.call_sites().map(|call| call.ret_addr as usize).collect();
    let entry = adapt(&mut bytes, &ends, counts)?;
    Ok((bytes, entry))
}

/// `ends` are the offsets behind all calls, of both kinds.
fn adapt(code: &mut [u8], ends: &[usize], counts: Counts) -> Result<usize, String> {
    let Some(body) = code.strip_prefix(&MAKE) else { return Err("no frame is made".to_owned()) };
    if body.starts_with(&MAKE_ROOM_BYTE) || body.starts_with(&MAKE_ROOM) {
        if counts.calls > 0 {
            // A multiple of sixteen: it takes eight more, whatever its size.
            code[MAKE.len() + MAKE_ROOM.len()] += 8;
        }
        return Ok(0);
    }
    if counts.returns > 0 {
        return if counts.calls == 0 {
            Ok(0)
        } else {
            Err("a piece that returns calls without room on the stack".to_owned())
        };
    }
    let is_tail_call = |&&end: &&usize| {
        end <= code.len()
            && code[..end].strip_suffix(&JUMP).is_some_and(|before| before.ends_with(&TAKE_DOWN))
    };
    let tail_calls: Vec<usize> = ends.iter().filter(is_tail_call).copied().collect();
    if tail_calls.len() != counts.tail_calls || ends.len() != counts.tail_calls + counts.calls {
        return Err(format!(
            "{} tail calls among {} calls; {counts:?}",
            tail_calls.len(),
            ends.len()
        ));
    }
    for end in tail_calls {
        let sequence = &mut code[end - JUMP.len() - TAKE_DOWN.len()..end];
        sequence[..JUMP.len()].copy_from_slice(&JUMP);
        sequence[JUMP.len()..].fill(TRAP);
    }
    Ok(MAKE.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: [u8; 2] = [0xff, 0xd0];
    const RETURN: [u8; 1] = [0xc3];

    fn code(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn the_frame_of_a_piece_that_keeps_nothing_is_taken_away() {
        let mut bytes = code(&[&MAKE, &CALL, &TAKE_DOWN, &JUMP, &TAKE_DOWN, &JUMP]);
        let counts = Counts { calls: 1, tail_calls: 2, returns: 0 };
        assert_eq!(adapt(&mut bytes, &[6, 13, 20], counts), Ok(4));
        assert_eq!(bytes, code(&[&MAKE, &CALL, &JUMP, &[TRAP; 4], &JUMP, &[TRAP; 4]]));
    }

    #[test]
    fn one_that_keeps_something_and_calls_gets_more_room() {
        for (room, more) in [
            ([0x48, 0x83, 0xec, 0x70].as_slice(), [0x48, 0x83, 0xec, 0x78].as_slice()),
            (&[0x48, 0x81, 0xec, 0x80, 0, 0, 0], &[0x48, 0x81, 0xec, 0x88, 0, 0, 0]),
        ] {
            let mut bytes = code(&[&MAKE, room, &CALL, &TAKE_DOWN, &RETURN]);
            assert_eq!(
                adapt(
                    &mut bytes,
                    &[6 + room.len()],
                    Counts { calls: 1, tail_calls: 0, returns: 1 }
                ),
                Ok(0)
            );
            assert_eq!(bytes, code(&[&MAKE, more, &CALL, &TAKE_DOWN, &RETURN]));
        }
    }

    #[test]
    fn code_that_is_not_as_expected_is_refused() {
        let returning = code(&[&MAKE, &CALL, &TAKE_DOWN, &RETURN]);
        let other_jump = code(&[&MAKE, &TAKE_DOWN, &[0xff, 0xe0]]);
        for (mut bytes, ends, counts) in [
            (returning, vec![6], Counts { calls: 1, tail_calls: 0, returns: 1 }),
            (other_jump, vec![10], Counts { calls: 0, tail_calls: 1, returns: 0 }),
            (vec![0x90], vec![], Counts::default()),
        ] {
            let before = bytes.clone();
            assert!(adapt(&mut bytes, &ends, counts).is_err());
            assert_eq!(bytes, before);
        }
    }
}
