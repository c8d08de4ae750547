//! Machine code that all pieces share: how functions of the machine are called.

use crate::emitter::Assembler;
use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_engine::code::{CodeMemory, Glue, Stub};
use swarmrt_engine::layout;
use swarmrt_engine::runtime::assists::Assists;

/// Addresses of what pieces call and leave by. All but the ways out are called, and change no registers but `rax`, `r10`, `r11`, and
/// those that hold the machine state, which are read again.
pub struct Routines {
    /// Executes the instruction at the address in `rbx`. In `rax`: how many bytes from there the next one is.
    pub step: u64,
    /// Calls the function in `rax` with the scheduler's registers, `rbx`, `r12` and `r13`. In `rax`: what it returns.
    pub assist: u64,
    /// Calls the function in `r11`, which does not look at the machine state, with `rax` and `r10`. In `rax`: what it returns.
    pub ask: u64,
    pub interpret: u64,
    pub continues: u64,
    pub turn_over: u64,
    _memory: CodeMemory,
}

impl Routines {
    /// # Errors
    /// When the operating system refuses executable memory.
    pub fn new(assists: &Assists, glue: &Glue) -> std::io::Result<Routines> {
        let mut ops = Assembler::new(0);
        let exit = |stub: Stub| glue.exits[stub as usize];
        let step = ops.offset().0;
        let gone = ops.new_dynamic_label();
        save(&mut ops);
        dynasm!(ops
            ; .arch x64
            ; sub rsp, 8
            ; mov rdi, r15
            ; mov rsi, rbx
            ; mov rax, QWORD assists.step as usize as i64
            ; call rax
            ; add rsp, 8
            ; test rax, rax
            ; jz =>gone
        );
        reload(&mut ops);
        dynasm!(ops
            ; .arch x64
            ; sub rax, rbx
            ; ret
            // The piece is not returned to.
            ; =>gone
            ; add rsp, 8
            ; mov rax, QWORD exit(Stub::SavedLeave) as i64
            ; jmp rax
        );
        let assist = ops.offset().0;
        save(&mut ops);
        dynasm!(ops
            ; .arch x64
            ; sub rsp, 8
            ; mov rdi, r15
            ; mov rsi, rbx
            ; mov rdx, r12
            ; mov rcx, r13
            ; call rax
            ; add rsp, 8
        );
        reload(&mut ops);
        dynasm!(ops ; .arch x64 ; ret);
        let ask = ops.offset().0;
        dynasm!(ops
            ; .arch x64
            ; push rdi
            ; push rsi
            ; push rdx
            ; push rcx
            ; push r8
            ; push r9
            ; sub rsp, 8
            ; mov rdi, rax
            ; mov rsi, r10
            ; call r11
            ; add rsp, 8
            ; pop r9
            ; pop r8
            ; pop rcx
            ; pop rdx
            ; pop rsi
            ; pop rdi
            ; ret
        );
        let code = ops.finalize().map_err(std::io::Error::other)?;
        let memory = CodeMemory::new(&code)?;
        let at = |offset: usize| memory.address() + offset as u64;
        Ok(Routines {
            step: at(step),
            assist: at(assist),
            ask: at(ask),
            interpret: exit(Stub::Interpret),
            continues: exit(Stub::SavedContinue),
            turn_over: exit(Stub::TurnOver),
            _memory: memory,
        })
    }
}

/// Writes the machine state back.
fn save(ops: &mut Assembler) {
    dynasm!(ops
        ; .arch x64
        ; mov [r15 + layout::x(0)], rcx
        ; mov [r15 + layout::x(1)], r8
        ; mov [r15 + layout::x(2)], r9
        ; mov [r15 + layout::STOP], rdi
        ; mov [r15 + layout::TOP], rsi
        ; mov [r15 + layout::REDUCTIONS], rdx
    );
}

/// Reads the machine state again.
fn reload(ops: &mut Assembler) {
    dynasm!(ops
        ; .arch x64
        ; mov rcx, [r15 + layout::x(0)]
        ; mov r8, [r15 + layout::x(1)]
        ; mov r9, [r15 + layout::x(2)]
        ; mov rdi, [r15 + layout::STOP]
        ; mov rsi, [r15 + layout::TOP]
        ; mov rdx, [r15 + layout::REDUCTIONS]
    );
}
