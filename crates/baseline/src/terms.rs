//! Tests of what a word is; lists, tuples and funs.

use crate::emitter::{Emitter, R10, R11, RAX, RBX, RSI};
use crate::facts::Fact;
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, dynasm};
use swarmrt_beam::instr::{Dst, RecordUpdate, Select, Src};
use swarmrt_engine::layout::{self, HEADER, boxed};
use swarmrt_engine::state::SCRATCH_WORDS;
use swarmrt_term::{Header, Subtag, Term};

impl Emitter<'_> {
    // ---- Tests ----

    /// To `other` unless the register's bits under `mask` are `tag`. Changes `eax`.
    pub fn require_tag(&mut self, register: u8, mask: u8, tag: u64, other: DynamicLabel) {
        let offset = -(tag as i8);
        dynasm!(self.ops ; .arch x64 ; lea eax, [BYTE Rq(register) + offset] ; test al, mask as i8 ; jnz =>other);
    }
    /// To `other` unless the register holds a boxed term. Changes `eax`.
    pub fn require_boxed(&mut self, register: u8, other: DynamicLabel) {
        self.require_tag(register, 0b111, Term::TAG_BOXED, other);
    }
    /// To `other` unless the register holds a small integer. Changes `eax`.
    pub fn require_small(&mut self, register: u8, other: DynamicLabel) {
        self.require_tag(register, 0b11, 0b11, other);
    }
    /// To `other` unless the register holds a boxed term with one of these subtags. Changes `eax`.
    pub fn require_subtag(&mut self, register: u8, subtags: &[Subtag], other: DynamicLabel) {
        self.require_boxed(register, other);
        dynasm!(self.ops ; .arch x64 ; movzx eax, BYTE [BYTE Rq(register) + HEADER]);
        let [rest @ .., last] = subtags else { unreachable!("one at least") };
        if rest.is_empty() {
            dynasm!(self.ops ; .arch x64 ; cmp eax, (*last as i32) << 3 ; jne =>other);
            return;
        }
        let is = self.label();
        for &subtag in rest {
            dynasm!(self.ops ; .arch x64 ; cmp eax, (subtag as i32) << 3 ; je =>is);
        }
        dynasm!(self.ops ; .arch x64 ; cmp eax, (*last as i32) << 3 ; jne =>other ; =>is);
    }
    /// Sets the flags by comparing a register with a constant; `r11` is changed where that does not
    /// fit in 32 bits.
    pub fn compare_word(&mut self, register: u8, word: u64) {
        if let Ok(word) = i32::try_from(word as i64) {
            dynasm!(self.ops ; .arch x64 ; cmp Rq(register), word);
        } else {
            self.word(R11, word);
            dynasm!(self.ops ; .arch x64 ; cmp Rq(register), r11);
        }
    }
    /// To `fail` unless the operand's bits under `mask` are `tag`.
    pub fn test_tag(&mut self, at: u32, src: Src, fail: i32, mask: u8, tag: u64) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        self.require_tag(register, mask, tag, fail);
    }
    /// To `fail` unless the operand is a boxed term with one of these subtags.
    pub fn test_subtag(&mut self, at: u32, src: Src, fail: i32, subtags: &[Subtag]) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        self.require_subtag(register, subtags, fail);
    }
    /// With `equal`, to `fail` unless the operand's word is `wanted`; without it, to `fail` if it
    /// is.
    pub fn test_word(&mut self, at: u32, src: Src, wanted: u64, fail: i32, equal: bool) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        self.compare_word(register, wanted);
        if equal {
            dynasm!(self.ops ; .arch x64 ; jne =>fail);
        } else {
            dynasm!(self.ops ; .arch x64 ; je =>fail);
        }
    }
    /// To `fail` unless the operand's bits under `mask` are `tag`, or it is a boxed term with one
    /// of the subtags.
    pub fn test_number(
        &mut self,
        at: u32,
        src: Src,
        fail: i32,
        mask: u8,
        tag: u64,
        subtags: &[Subtag],
    ) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        let (is, offset) = (self.label(), -(tag as i8));
        dynasm!(self.ops ; .arch x64 ; lea eax, [BYTE Rq(register) + offset] ; test al, mask as i8 ; jz =>is);
        self.require_subtag(register, subtags, fail);
        dynasm!(self.ops ; .arch x64 ; =>is);
    }
    /// To `fail` unless the operand is a list cell or nil.
    pub fn is_list(&mut self, at: u32, src: Src, fail: i32) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        let is = self.label();
        self.compare_word(register, Term::NIL.raw());
        dynasm!(self.ops ; .arch x64 ; je =>is);
        self.require_tag(register, 0b111, Term::TAG_CONS, fail);
        dynasm!(self.ops ; .arch x64 ; =>is);
    }
    /// To `fail` unless the operand is a list cell.
    pub fn is_cons(&mut self, at: u32, src: Src, fail: i32) {
        self.test_tag(at, src, fail, 0b111, Term::TAG_CONS);
        self.facts.learn(src, Fact::Cons);
    }
    /// To `fail` unless the operand is `true` or `false`.
    pub fn is_boolean(&mut self, at: u32, src: Src, fail: i32) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        let is = self.label();
        self.compare_word(register, Term::bool(true).raw());
        dynasm!(self.ops ; .arch x64 ; je =>is);
        self.compare_word(register, Term::bool(false).raw());
        dynasm!(self.ops ; .arch x64 ; jne =>fail ; =>is);
    }
    /// To `fail` unless the operand is a pid or a port: one of this node, as `local` is one, or of
    /// another.
    pub fn is_address(&mut self, at: u32, src: Src, fail: i32, local: Term, external: Subtag) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        let is = self.label();
        let offset = -((local.raw() & 0b11_1111) as i8);
        dynasm!(self.ops ; .arch x64 ; lea eax, [BYTE Rq(register) + offset] ; test al, 0b11_1111 ; jz =>is);
        self.require_subtag(register, &[external], fail);
        dynasm!(self.ops ; .arch x64 ; =>is);
    }
    /// To `fail` unless the operand is a bitstring of whole bytes.
    pub fn is_binary(&mut self, at: u32, src: Src, fail: i32) {
        let fail = self.target(at, fail);
        let register = self.read(at, src, R10);
        self.require_bits(register, fail);
        let size = boxed(swarmrt_term::binary::heap_bin::BIT_SIZE);
        dynasm!(self.ops ; .arch x64 ; test BYTE [Rq(register) + size], 7 ; jnz =>fail);
    }
    /// To `other` unless the register holds a bitstring.
    pub fn require_bits(&mut self, register: u8, other: DynamicLabel) {
        self.require_subtag(register, &[Subtag::HeapBin, Subtag::SharedBin, Subtag::SubBin], other);
    }
    /// `is_function2` with a known arity; anything but a local fun of that arity is stepped.
    pub fn is_function_of(&mut self, at: u32, src: Src, arity: u8) {
        let slow = self.step_later(at);
        let register = self.read(at, src, R10);
        self.require_subtag(register, &[Subtag::Fun], slow);
        dynasm!(self.ops ; .arch x64 ; cmp BYTE [Rq(register) + boxed(2)], arity as i8 ; jne =>slow);
    }

    // ---- Lists ----

    /// The register that holds a list cell; anything else is left to the interpreter.
    fn list_cell(&mut self, at: u32, src: Src) -> u8 {
        let register = self.read(at, src, R10);
        if !self.facts.is(src, Fact::Cons) {
            let other = self.exit(at);
            self.require_tag(register, 0b111, Term::TAG_CONS, other);
        }
        register
    }
    /// Loads head and tail of the list cell in register `list`. Where both destinations are the
    /// same, the tail stays.
    fn both(&mut self, list: u8, head: Dst, tail: Dst) {
        let to = self.place_for(tail, R11);
        self.load(RAX, list, layout::HEAD);
        self.load(to, list, layout::TAIL);
        // Where both are the same, the tail stays.
        if self.place_for(head, RAX) != to || to == R11 {
            self.write(head, RAX);
        }
        self.write(tail, to);
    }
    /// `get_list`: head and tail of a list cell.
    pub fn get_list(&mut self, at: u32, src: Src, head: Dst, tail: Dst) {
        let list = self.list_cell(at, src);
        self.both(list, head, tail);
    }
    /// `is_nonempty_list` and `get_list` together.
    pub fn is_cons_get_list(&mut self, at: u32, src: Src, head: Dst, tail: Dst, fail: i32) {
        let fail = self.target(at, fail);
        let list = self.read(at, src, R10);
        self.require_tag(list, 0b111, Term::TAG_CONS, fail);
        self.both(list, head, tail);
    }
    /// `get_hd` and `get_tl`: `offset` is [`layout::HEAD`] or [`layout::TAIL`].
    pub fn get_part(&mut self, at: u32, src: Src, offset: i32, dst: Dst) {
        let list = self.list_cell(at, src);
        let to = self.place_for(dst, RAX);
        self.load(to, list, offset);
        self.write(dst, to);
    }
    /// `hd/1` and `tl/1`, which fail where there is no list cell; `offset` as in
    /// [`get_part`](Self::get_part).
    pub fn list_part(&mut self, at: u32, src: Src, offset: i32, dst: Dst) {
        let fail = self.guard_fail(at);
        let other = self.failing(at, fail);
        let list = self.read(at, src, R10);
        if !self.facts.is(src, Fact::Cons) {
            self.require_tag(list, 0b111, Term::TAG_CONS, other);
        }
        let to = self.place_for(dst, RAX);
        self.load(to, list, offset);
        self.write(dst, to);
    }
    /// `put_list`: a list cell at the heap's top, for which there is room.
    pub fn put_list(&mut self, at: u32, head: Src, tail: Src, dst: Dst) {
        for (src, offset) in [(head, 0), (tail, 8)] {
            self.put(at, src, offset);
        }
        let to = self.place_for(dst, RAX);
        dynasm!(self.ops ; .arch x64 ; lea Rq(to), [rsi + Term::TAG_CONS as i32] ; add rsi, 16);
        self.write(dst, to);
        self.facts.learn(dst.as_src(), Fact::Cons);
    }
    /// Stores an operand's value at `offset` bytes behind the heap's top.
    pub fn put(&mut self, at: u32, src: Src, offset: i32) {
        if let Some(word) = self.constant(at, src) {
            self.store_word(word, RSI, offset);
        } else {
            let from = self.read(at, src, RAX);
            self.store(from, RSI, offset);
        }
    }

    // ---- Tuples ----

    /// `put_tuple2`: a tuple at the heap's top, for which there is room.
    pub fn put_tuple(&mut self, at: u32, elements: &[Src], dst: Dst) {
        self.store_word(Header::new(Subtag::Tuple, elements.len()).0, RSI, 0);
        for (number, &element) in elements.iter().enumerate() {
            self.put(at, element, (number as i32 + 1) * 8);
        }
        self.take_boxed(elements.len() + 1, dst);
        self.facts.learn(dst.as_src(), Fact::Tuple(elements.len() as u32));
    }
    /// What was stored at the heap's top becomes a boxed term of so many words.
    pub fn take_boxed(&mut self, words: usize, dst: Dst) {
        let to = self.place_for(dst, RAX);
        dynasm!(self.ops ; .arch x64 ; lea Rq(to), [rsi + Term::TAG_BOXED as i32] ; add rsi, (words * 8) as i32);
        self.write(dst, to);
    }
    /// To `fail` unless the operand is a tuple of exactly `arity` elements. Returns the machine
    /// register that holds it.
    pub fn test_arity(&mut self, at: u32, src: Src, arity: u32, fail: i32) -> u8 {
        let fail = self.target(at, fail);
        let tuple = self.read(at, src, R10);
        if !matches!(self.facts.of(src), Some(Fact::Tuple(_))) {
            self.require_boxed(tuple, fail);
        }
        let header = Header::new(Subtag::Tuple, arity as usize).0;
        match i32::try_from(header) {
            Ok(header) => {
                dynasm!(self.ops ; .arch x64 ; cmp QWORD [BYTE Rq(tuple) + HEADER], header);
            }
            Err(_) => {
                self.word(R11, header);
                dynasm!(self.ops ; .arch x64 ; cmp [BYTE Rq(tuple) + HEADER], r11);
            }
        }
        dynasm!(self.ops ; .arch x64 ; jne =>fail);
        self.facts.learn(src, Fact::Tuple(arity));
        tuple
    }
    /// To `fail` unless the first element of the tuple in a register is this.
    pub fn test_first(&mut self, at: u32, tuple: u8, tag: Src, fail: i32) {
        let fail = self.target(at, fail);
        if let Some(Ok(tag)) = self.constant(at, tag).map(|tag| i32::try_from(tag as i64)) {
            dynasm!(self.ops ; .arch x64 ; cmp QWORD [Rq(tuple) + boxed(1)], tag);
        } else {
            let tag = self.read(at, tag, R11);
            dynasm!(self.ops ; .arch x64 ; cmp [Rq(tuple) + boxed(1)], Rq(tag));
        }
        dynasm!(self.ops ; .arch x64 ; jne =>fail);
    }
    /// To `fail` unless the operand is a tuple.
    pub fn is_tuple(&mut self, at: u32, src: Src, fail: i32) {
        self.test_subtag(at, src, fail, &[Subtag::Tuple]);
        self.facts.learn(src, Fact::Tuple(0));
    }
    /// The register that holds a tuple with an element `index`, counted from 0; anything else is
    /// left to the interpreter.
    fn tuple_with(&mut self, at: u32, src: Src, index: u32) -> u8 {
        let tuple = self.read(at, src, R10);
        let known = self.facts.of(src);
        if matches!(known, Some(Fact::Tuple(arity)) if arity > index) {
            return tuple;
        }
        let other = self.exit(at);
        if !matches!(known, Some(Fact::Tuple(_))) {
            self.require_subtag(tuple, &[Subtag::Tuple], other);
        }
        self.load(RAX, tuple, boxed(0));
        dynasm!(self.ops ; .arch x64 ; shr rax, 8 ; cmp rax, index as i32 + 1 ; jb =>other);
        self.facts.learn(src, Fact::Tuple(index + 1));
        tuple
    }
    /// `get_tuple_element`: `index` counts from 0.
    pub fn get_element(&mut self, at: u32, src: Src, index: u32, dst: Dst) {
        let tuple = self.tuple_with(at, src, index);
        let to = self.place_for(dst, RAX);
        self.load(to, tuple, boxed(index as usize + 1));
        self.write(dst, to);
    }
    /// Two `get_tuple_element` of neighbours: `index` and `index + 1`, counted from 0.
    pub fn get_elements(&mut self, at: u32, src: Src, index: u32, first: Dst, second: Dst) {
        let tuple = self.tuple_with(at, src, index + 1);
        self.load(RAX, tuple, boxed(index as usize + 1));
        self.load(R11, tuple, boxed(index as usize + 2));
        self.write(first, RAX);
        self.write(second, R11);
    }
    /// `element/2`.
    pub fn element(&mut self, at: u32, index: Src, tuple: Src, dst: Dst) {
        let fail = self.guard_fail(at);
        let other = self.failing(at, fail);
        let register = self.read(at, tuple, R10);
        if !matches!(self.facts.of(tuple), Some(Fact::Tuple(_))) {
            self.require_subtag(register, &[Subtag::Tuple], other);
        }
        self.read_into(at, index, R11);
        self.require_small(R11, other);
        dynasm!(self.ops
            ; .arch x64
            ; mov rax, [BYTE Rq(register) + HEADER]
            ; shr rax, 8
            ; sar r11, 2
            ; lea rbx, [r11 - 1]
            ; cmp rbx, rax
            ; jae =>other
            ; mov rax, [BYTE Rq(register) + r11 * 8 + HEADER]
        );
        self.write(dst, RAX);
    }
    /// `tuple_size/1`.
    pub fn tuple_size(&mut self, at: u32, tuple: Src, dst: Dst) {
        let fail = self.guard_fail(at);
        let other = self.failing(at, fail);
        let register = self.read(at, tuple, R10);
        self.require_subtag(register, &[Subtag::Tuple], other);
        dynasm!(self.ops ; .arch x64 ; mov rax, [BYTE Rq(register) + HEADER] ; shr rax, 8 ; lea rax, [rax * 4 + 3]);
        self.write(dst, RAX);
    }
    /// `update_record`: a copy of the tuple with some elements replaced, for which there is room.
    /// One that may reuse its source is stepped.
    pub fn update_record(&mut self, at: u32, update: &RecordUpdate, dst: Dst) {
        let size = update.size as usize;
        if update.reuse || size > SCRATCH_WORDS || size == 0 {
            return self.step_here(at);
        }
        let other = self.exit(at);
        let header = Header::new(Subtag::Tuple, size).0;
        self.read_into(at, update.source, RBX);
        self.require_boxed(RBX, other);
        self.word(RAX, header);
        dynasm!(self.ops ; .arch x64 ; cmp [BYTE rbx + HEADER], rax ; jne =>other);
        self.store_word(header, RSI, 0);
        for position in 0..size {
            // The last one counts.
            match update.updates.iter().rev().find(|&&(updated, _)| updated as usize == position) {
                Some(&(_, value)) => self.put(at, value, (position as i32 + 1) * 8),
                None => {
                    self.load(RAX, RBX, boxed(position + 1));
                    self.store(RAX, RSI, (position as i32 + 1) * 8);
                }
            }
        }
        self.take_boxed(size + 1, dst);
    }

    // ---- Selections ----

    /// `select_val`: jumps to the target of the operand's value.
    pub fn select(&mut self, at: u32, src: Src, select: &Select) {
        match select {
            Select::Each { .. } => self.step_here(at),
            Select::Jump { .. } | Select::Search { .. } => {
                self.read_into(at, src, R10);
                self.select_word(at, select);
            }
        }
    }
    /// `select_tuple_arity`: jumps to the target of the tuple's arity.
    pub fn select_arity(&mut self, at: u32, src: Src, select: &Select) {
        let (Select::Jump { fail, .. } | Select::Search { fail, .. }) = select else {
            return self.step_here(at);
        };
        let fail = self.target(at, *fail);
        let tuple = self.read(at, src, R10);
        self.require_subtag(tuple, &[Subtag::Tuple], fail);
        dynasm!(self.ops ; .arch x64 ; mov r10, [BYTE Rq(tuple) + HEADER] ; shr r10, 8 ; lea r10, [r10 * 4 + 3]);
        self.select_word(at, select);
    }
    /// Jumps to the target that the table has for the word in `r10`.
    fn select_word(&mut self, at: u32, select: &Select) {
        match select {
            Select::Jump { min, targets, fail } => {
                let fail = self.target(at, *fail);
                self.require_small(R10, fail);
                dynasm!(self.ops ; .arch x64 ; sar r10, 2);
                self.word(R11, *min as u64);
                let table = self.label();
                dynasm!(self.ops
                    ; .arch x64
                    ; sub r10, r11
                    ; cmp r10, targets.len() as i32
                    ; jae =>fail
                    ; lea r11, [=>table]
                    ; movsxd rax, DWORD [r11 + r10 * 4]
                    ; add rax, r11
                    ; jmp rax
                );
                // Jumps of five bytes each, which a table of distances leads to.
                let start = self.ops.offset().0;
                let jumps: Vec<i32> = targets
                    .iter()
                    .map(|&target| {
                        let target = self.target(at, target);
                        let here = self.ops.offset().0 - start;
                        dynasm!(self.ops ; .arch x64 ; jmp =>target);
                        here as i32
                    })
                    .collect();
                let behind = (self.ops.offset().0 - start) as i32;
                self.ops.dynamic_label(table);
                for jump in jumps {
                    self.ops.push_i32(jump - behind);
                }
            }
            Select::Search { keys, targets, fail } => {
                let mut ways: Vec<(u64, i32)> =
                    keys.iter().copied().zip(targets.iter().copied()).collect();
                // Sorted, and of equal keys the first counts.
                ways.dedup_by_key(|&mut (key, _)| key);
                let fail = self.target(at, *fail);
                self.search(at, &ways, fail);
            }
            Select::Each { .. } => unreachable!("is stepped"),
        }
    }
    /// Jumps to the target of the word in `r10` by binary search among `ways`, which are sorted by
    /// key.
    fn search(&mut self, at: u32, ways: &[(u64, i32)], fail: DynamicLabel) {
        if ways.len() <= 4 {
            for &(key, target) in ways {
                let target = self.target(at, target);
                self.compare_word(R10, key);
                dynasm!(self.ops ; .arch x64 ; je =>target);
            }
            dynasm!(self.ops ; .arch x64 ; jmp =>fail);
            return;
        }
        let (low, high) = ways.split_at(ways.len() / 2);
        let upper = self.label();
        self.compare_word(R10, high[0].0);
        dynasm!(self.ops ; .arch x64 ; jae =>upper);
        self.search(at, low, fail);
        dynasm!(self.ops ; .arch x64 ; =>upper);
        self.search(at, high, fail);
    }
}
