//! Pieces without a frame.
//!
//! Cranelift gives each function a frame: two instructions to make it, two to take it down before every tail call. A
//! piece that calls nobody in the usual way and keeps nothing on the machine's stack needs none. Its code is entered
//! behind the making, and its tail calls lose the taking down; the offsets at which those end are known exactly.

/// `push rbp; mov rbp, rsp`.
const MAKE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
/// `mov rsp, rbp; pop rbp`.
const TAKE_DOWN: [u8; 4] = [0x48, 0x89, 0xec, 0x5d];
/// `jmp r10`, by which all tail calls go.
const JUMP: [u8; 3] = [0x41, 0xff, 0xe2];
/// `int3`, for what is never reached.
const TRAP: u8 = 0xcc;
/// Of `sub rsp, …` with a byte or a word.
const MAKE_ROOM: [[u8; 3]; 2] = [[0x48, 0x83, 0xec], [0x48, 0x81, 0xec]];

/// Takes the frame away where there may be none, and says at which offset the code is entered then. `calls` are the
/// offsets behind all calls, of both kinds; `returns` is whether the function returns, other than by tail calls.
pub fn take_away(code: &mut [u8], calls: impl Iterator<Item = usize>, returns: bool) -> usize {
    if !cfg!(target_arch = "x86_64") || returns || !code.starts_with(&MAKE) || MAKE_ROOM.iter().any(|room| code[MAKE.len()..].starts_with(room)) {
        return 0;
    }
    let ends: Vec<usize> = calls.collect();
    let is_tail_call = |end: usize| end <= code.len() && code[..end].strip_suffix(&JUMP).is_some_and(|before| before.ends_with(&TAKE_DOWN));
    if !ends.iter().all(|&end| is_tail_call(end)) {
        return 0;
    }
    for end in ends {
        let sequence = &mut code[end - JUMP.len() - TAKE_DOWN.len()..end];
        sequence[..JUMP.len()].copy_from_slice(&JUMP);
        sequence[JUMP.len()..].fill(TRAP);
    }
    MAKE.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn the_frame_of_a_piece_that_only_goes_on_is_taken_away() {
        let mut bytes = code(&[&MAKE, &[0x90], &TAKE_DOWN, &JUMP, &TAKE_DOWN, &JUMP]);
        assert_eq!(take_away(&mut bytes, [12, 19].into_iter(), false), 4);
        assert_eq!(bytes, code(&[&MAKE, &[0x90], &JUMP, &[TRAP; 4], &JUMP, &[TRAP; 4]]));
    }

    #[test]
    fn it_stays_where_it_is_needed() {
        let call = code(&[&MAKE, &[0xff, 0xd0], &TAKE_DOWN, &JUMP]);
        let room = code(&[&MAKE, &[0x48, 0x83, 0xec, 0x10], &TAKE_DOWN, &JUMP]);
        let plain = code(&[&MAKE, &TAKE_DOWN, &JUMP]);
        for (bytes, calls, returns) in [(call, vec![6, 13], false), (room, vec![15], false), (plain, vec![11], true)] {
            let mut after = bytes.clone();
            assert_eq!(take_away(&mut after, calls.into_iter(), returns), 0);
            assert_eq!(after, bytes);
        }
    }
}
