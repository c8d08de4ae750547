//! Unwinding through machine code.
//!
//! Work that machine code has asked for may be ended ([`swarmrt_term::stop`]): the stack is unwound
//! then, from a function of the machine through pieces to whoever entered machine code. An unwinder
//! has to know where each frame keeps the registers of its caller. One rule does for all machine
//! code, as pieces keep no registers for their callers: the frame pointer is the trampoline's, in a
//! piece without a frame, or leads there by way of the frames between them. So each function is
//! described as if it were the trampoline; what is read wrongly in the frames of pieces is read
//! again, and rightly, in the trampoline's, which comes last.

use crate::layout;

/// The DWARF numbers of the registers that functions keep for their callers, in the order in which
/// the trampoline saves them below the frame pointer: `rbx`, `r12` to `r15`.
const SAVED: [u8; 5] = [3, 12, 13, 14, 15];
const FRAME_POINTER: u8 = 6;
const RETURN_ADDRESS: u8 = 16;

const DW_CFA_NOP: u8 = 0;
const DW_CFA_DEF_CFA: u8 = 0x0c;
const DW_CFA_OFFSET: u8 = 0x80;

/// Whether the stack can be unwound through machine code here.
pub const IS_KNOWN: bool = cfg!(all(target_arch = "x86_64", target_env = "gnu"));

/// The trampoline's machine code: `fn(registers, code) -> exit` for C; it calls what the state
/// names as code by the pad at that address. The arguments of pieces are in the places that C's are
/// in.
pub fn trampoline(pad: u64) -> Vec<u8> {
    /// `mov REG, [rdi + offset]`, with the `ModRM` byte of the register.
    fn load(prefix: u8, modrm: u8, offset: i32) -> Vec<u8> {
        [[prefix, 0x8b, modrm].as_slice(), &offset.to_le_bytes()].concat()
    }
    [
        // push rbp; mov rbp, rsp; push rbx, r12, r13, r14, r15; sub rsp, 8
        [
            0x55, 0x48, 0x89, 0xe5, 0x53, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x48,
            0x83, 0xec, 8,
        ]
        .to_vec(),
        // mov [rdi + CODE], rsi
        [[0x48, 0x89, 0xb7].as_slice(), &layout::CODE.to_le_bytes()].concat(),
        // mov r15, rdi
        vec![0x49, 0x89, 0xff],
        // rsi, rdx, rcx, r8, r9, and rdi last
        load(0x48, 0xb7, layout::TOP),
        load(0x48, 0x97, layout::REDUCTIONS),
        load(0x48, 0x8f, layout::x(0)),
        load(0x4c, 0x87, layout::x(1)),
        load(0x4c, 0x8f, layout::x(2)),
        load(0x48, 0xbf, layout::STOP),
        // mov rax, pad; call rax
        [[0x48, 0xb8].as_slice(), &pad.to_le_bytes(), &[0xff, 0xd0]].concat(),
        // add rsp, 8; pop r15, r14, r13, r12, rbx, rbp; ret
        vec![0x48, 0x83, 0xc4, 8, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5b, 0x5d, 0xc3],
    ]
    .concat()
}

/// What an unwinder is told of a stretch of machine code, for as long as it is there.
pub struct Description {
    /// An `.eh_frame` section.
    section: Box<[u8]>,
}

#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
unsafe extern "C" {
    fn __register_frame(section: *const u8);
    fn __deregister_frame(section: *const u8);
}

impl Description {
    /// Registers an `.eh_frame` section for `bytes` bytes of machine code from `start`. It does
    /// nothing where [`IS_KNOWN`] is false.
    pub fn new(start: *const u8, bytes: usize) -> Description {
        let section = section(start as u64, bytes as u64).into_boxed_slice();
        #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
        // SAFETY: a well-formed section, which stays where it is until it is taken back.
        unsafe {
            __register_frame(section.as_ptr());
        }
        Description { section }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        let section = self.section.as_ptr();
        #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
        // SAFETY: it was registered when it was made.
        unsafe {
            __deregister_frame(section);
        }
        let _ = section;
    }
}

/// One common entry with the rule, one for the whole stretch that refers to it, and the end.
fn section(start: u64, bytes: u64) -> Vec<u8> {
    let mut rule = vec![
        DW_CFA_DEF_CFA,
        FRAME_POINTER,
        16,
        DW_CFA_OFFSET | RETURN_ADDRESS,
        1,
        DW_CFA_OFFSET | FRAME_POINTER,
        2,
    ];
    for (register, slot) in SAVED.iter().zip(3..) {
        rule.extend([DW_CFA_OFFSET | register, slot]);
    }
    // Identifier 0, version 1, no augmentation, code in bytes, data in units of -8.
    let mut common = [[0, 0, 0, 0, 1, 0, 1, 0x78, RETURN_ADDRESS].as_slice(), &rule].concat();
    pad(&mut common);
    let distance = (4 + common.len() + 4) as u32;
    let mut whole =
        [distance.to_le_bytes().as_slice(), &start.to_le_bytes(), &bytes.to_le_bytes()].concat();
    pad(&mut whole);
    let length = |entry: &[u8]| (entry.len() as u32).to_le_bytes();
    [&length(&common), common.as_slice(), &length(&whole), &whole, &[0; 4]].concat()
}

/// To a multiple of the word with the length.
fn pad(entry: &mut Vec<u8>) {
    entry.resize((entry.len() + 4).next_multiple_of(8) - 4, DW_CFA_NOP);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_refer_to_each_other() {
        let section = section(0x1000, 0x2000);
        let word =
            |at: usize| u32::from_le_bytes(section[at..at + 4].try_into().expect("four bytes"));
        let common = word(0) as usize;
        assert_eq!(word(4), 0, "a common entry");
        let whole = 4 + common;
        assert_eq!(whole % 8, 0);
        assert_eq!(word(whole + 4) as usize, whole + 4, "its distance from the common entry");
        assert_eq!(section[whole + 8..whole + 16], 0x1000u64.to_le_bytes());
        let end = whole + 4 + word(whole) as usize;
        assert_eq!(word(end), 0);
        assert_eq!(section.len(), end + 4);
    }
}
