//! Frames, calls and returns, and room on the heap.

use crate::emitter::{Emitter, PASSED, R10, R12, R13, RAX, RBX};
use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_beam::instr::{ExportPtr, Src};
use swarmrt_engine::layout;
use swarmrt_heap::process_heap::SLACK_WORDS;
use swarmrt_term::{Subtag, Term};

impl Emitter<'_> {
    /// Counts the call of the function; when the turn is over, it is put off.
    pub fn count_call(&mut self, cell: u32) {
        let (address, arity) = (self.span.address(cell), self.span.arity);
        let over = self.later(move |emitter| {
            emitter.word(RAX, address);
            emitter.store(RAX, 15, layout::CELL);
            emitter.store_word(arity.into(), 15, layout::ARITY);
            emitter.leave_turn_over();
        });
        dynasm!(self.ops ; .arch x64 ; sub rdx, 1 ; jle =>over);
    }
    /// Where a loop without calls comes round.
    pub fn end_turn(&mut self, at: u32) {
        let over = self.exit(at);
        dynasm!(self.ops ; .arch x64 ; sub rdx, 1 ; jle =>over);
    }
    /// Pops the `words` Y registers of the frame; facts are forgotten.
    pub fn pop_frame(&mut self, words: u16) {
        if words > 0 {
            dynasm!(self.ops ; .arch x64 ; add rdi, i32::from(words) * 8);
        }
        self.facts.clear();
    }
    /// Pushes the return address of the call at `at`: the cell behind it.
    pub fn push_return(&mut self, at: u32) {
        let cell = self.span.address(at + 1);
        dynasm!(self.ops ; .arch x64 ; sub rdi, 8);
        self.word(RAX, cell);
        self.store(RAX, 7, 0);
    }
    /// Before a call: a tail call pops its frame, another pushes where it returns to.
    pub fn pop_or_push(&mut self, at: u32, frame: Option<u16>) {
        match frame {
            Some(frame) => self.pop_frame(frame),
            None => self.push_return(at),
        }
    }
    /// A tail call to the function behind the cell whose address is in `r10`.
    pub fn enter(&mut self) {
        self.store(R10, 15, layout::CELL);
        dynasm!(self.ops ; .arch x64 ; jmp QWORD [r10 + self.cell_code]);
    }
    /// Jumps to the function of the module whose first instruction behind its entry cell is
    /// `target` from `at`. The frame is popped, or the return address pushed, before.
    pub fn call_local(&mut self, at: u32, target: i32) {
        let cell = at.wrapping_add_signed(target) - 1;
        if cell == self.span.entry {
            let entry = self.place(cell);
            dynasm!(self.ops ; .arch x64 ; jmp =>entry);
        } else {
            self.word(R10, self.span.address(cell));
            self.enter();
        }
    }
    /// Jumps to the function that the export leads to now. The frame is popped, or the return
    /// address pushed, before.
    pub fn call_export(&mut self, export: ExportPtr) {
        self.word(R10, export.0);
        self.load(R10, R10, layout::EXPORT_ENTRY);
        dynasm!(self.ops ; .arch x64 ; sub r10, layout::INSTR_BYTES as i32);
        self.enter();
    }
    /// `return`: pops the return address and jumps to the machine code of its cell.
    pub fn return_to_caller(&mut self) {
        dynasm!(self.ops ; .arch x64 ; mov rax, [rdi] ; add rdi, 8 ; jmp QWORD [rax + self.cell_code]);
    }
    /// `allocate` and `allocate_heap`: a frame of nil words, with room for `heap` more words. It is
    /// stepped where the block has no room, and always under `stress`, where the step collects.
    pub fn allocate(&mut self, at: u32, frame: u16, heap: u32) {
        if cfg!(feature = "stress") {
            return self.step_here(at);
        }
        let step = self.step_later(at);
        self.require_room(usize::from(frame) + heap as usize, step);
        if frame > 0 {
            dynasm!(self.ops ; .arch x64 ; sub rdi, i32::from(frame) * 8);
        }
        if frame > 4 {
            self.word(RAX, Term::NIL.raw());
        }
        for y in 0..frame {
            match frame {
                0..=4 => self.store_word(Term::NIL.raw(), 7, i32::from(y) * 8),
                _ => self.store(RAX, 7, i32::from(y) * 8),
            }
        }
        self.facts.clear();
    }
    /// `test_heap`: room for `words` words on the heap; stepped as [`allocate`](Self::allocate) is.
    pub fn test_heap(&mut self, at: u32, words: u32) {
        if cfg!(feature = "stress") {
            return self.step_here(at);
        }
        let step = self.step_later(at);
        self.require_room(words as usize, step);
    }
    /// Goes on here when there is room for so many words, else to `other`.
    pub fn require_room(&mut self, words: usize, other: dynasmrt::DynamicLabel) {
        let bytes = ((words + SLACK_WORDS) * 8) as u64;
        match i32::try_from(bytes) {
            Ok(bytes) => dynasm!(self.ops ; .arch x64 ; lea rax, [rsi + bytes]),
            Err(_) => {
                self.word(RAX, bytes);
                dynasm!(self.ops ; .arch x64 ; add rax, rsi);
            }
        }
        dynasm!(self.ops ; .arch x64 ; cmp rax, rdi ; ja =>other);
    }

    // ---- Built-ins and native functions ----

    /// The result of what an instruction calls of the machine, in `rcx`.
    fn result_of(&mut self, at: u32, function: usize) {
        let other = self.exit(at);
        self.word(RBX, self.span.address(at));
        self.assist_or(function, other);
        dynasm!(self.ops ; .arch x64 ; mov rcx, rax);
        self.facts.clear();
    }
    /// The result of the built-in of the instruction at `at` is in X\[0\].
    fn bif_result(&mut self, at: u32, bif: u16, arity: u16) {
        let entry = self.bifs.get(bif);
        if entry.kind.is_dirty() {
            return self.result_of(at, self.assists.call_bif as usize);
        }
        self.word(R12, entry.function as usize as u64);
        self.word(R13, arity.into());
        self.result_of(at, self.assists.call_bif_function as usize);
    }
    /// Calls the built-in of the instruction at `at`, and goes on behind the cell that follows.
    pub fn call_bif(&mut self, at: u32, bif: u16, arity: u16) {
        self.bif_result(at, bif, arity);
        let next = self.target(at, 2);
        dynasm!(self.ops ; .arch x64 ; jmp =>next);
    }
    /// Calls a built-in in tail position: pops the frame and returns its result.
    pub fn call_bif_last(&mut self, at: u32, bif: u16, arity: u16, frame: u16) {
        self.bif_result(at, bif, arity);
        self.pop_frame(frame);
        self.return_to_caller();
    }
    /// The body of a function that a native library may replace. It calls the C function in the
    /// slot at address `slot`; where the slot is 0, the Erlang body that follows is run.
    pub fn native_body(&mut self, at: u32, slot: u64) {
        let own_code = self.target(at, 1);
        self.word(RAX, slot);
        dynasm!(self.ops ; .arch x64 ; cmp QWORD [rax], 0 ; je =>own_code);
        self.result_of(at, self.assists.call_native as usize);
        self.return_to_caller();
    }

    // ---- Funs and applications ----

    /// Calls the fun in `src`, in tail position where there is a `frame` to pop. The free variables
    /// are copied behind the arguments. All but a local fun of this arity whose module is loaded is
    /// stepped.
    pub fn call_fun(&mut self, at: u32, src: Src, arity: u16, frame: Option<u16>) {
        // A fun says how many arguments it takes in a byte.
        let Ok(takes) = u8::try_from(arity) else { return self.step_here(at) };
        let slow = self.step_later(at);
        self.read_into(at, src, RBX);
        self.require_boxed(RBX, slow);
        // Header, entry, and the arity with the creator.
        dynasm!(self.ops
            ; .arch x64
            ; mov rax, [BYTE rbx + layout::HEADER]
            ; cmp al, (Subtag::Fun as i8) << 3
            ; jne =>slow
            ; cmp BYTE [rbx + layout::boxed(2)], takes as i8
            ; jne =>slow
            ; mov r10, [rbx + layout::boxed(1)]
            ; mov r10, [r10 + layout::fun_entry()]
            ; test r10, r10
            ; jz =>slow
            ; shr rax, 8
            ; sub rax, 2
        );
        // The free variables follow the arguments, those among the first registers by way of
        // memory.
        let (copy, copied, first) = (self.label(), self.label(), usize::from(arity));
        dynasm!(self.ops ; .arch x64 ; jz =>copied);
        dynasm!(self.ops
            ; .arch x64
            ; =>copy
            ; mov r11, [rbx + rax * 8 + layout::boxed(2)]
            ; mov [r15 + rax * 8 + layout::x(first) - 8], r11
            ; sub rax, 1
            ; jnz =>copy
        );
        for (number, &register) in PASSED.iter().enumerate().skip(first) {
            self.load(register, 15, layout::x(number));
        }
        dynasm!(self.ops ; .arch x64 ; =>copied);
        self.pop_or_push(at, frame);
        dynasm!(self.ops ; .arch x64 ; sub r10, layout::INSTR_BYTES as i32);
        self.enter();
    }
    /// `apply` and `apply_last`: module and function are in the X registers behind the `arity`
    /// arguments; in tail position where there is a `frame` to pop.
    pub fn apply(&mut self, at: u32, arity: u16, frame: Option<u16>) {
        let other = self.exit(at);
        self.read_into(at, Src::x(arity), RBX);
        self.read_into(at, Src::x(arity + 1), R12);
        self.word(R13, arity.into());
        self.assist_or(self.assists.apply_target as usize, other);
        dynasm!(self.ops ; .arch x64 ; lea r10, [rax - layout::INSTR_BYTES as i32]);
        self.pop_or_push(at, frame);
        self.enter();
    }
}
