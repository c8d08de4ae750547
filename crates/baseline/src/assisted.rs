//! What is done by a function of the machine, between the words that are prepared and the result
//! that is taken up: maps, messages, funs, built-ins that yield a value.

use crate::emitter::{Emitter, R10, R12, R13, RAX, RBX, RSI};
use dynasmrt::{DynasmLabelApi, dynasm};
use swarmrt_beam::instr::{Dst, Instr, MapGet, MapPut, Src};
use swarmrt_engine::layout;
use swarmrt_engine::state::SCRATCH_WORDS;
use swarmrt_term::{Header, Subtag, am, atom};

const MAPS: &[Subtag] = &[Subtag::FlatMap, Subtag::HashMap];

impl Emitter<'_> {
    /// Takes up the result of an assist.
    fn take(&mut self, dst: Dst) {
        self.write(dst, RAX);
    }

    // ---- Built-ins and funs ----

    /// A built-in with arguments from any operands; `bif` is its number in the table. Failure leads
    /// to the guard's failure label, or to the interpreter, which raises. `erlang:'/'/2` is done in
    /// place.
    pub fn bif_value(&mut self, at: u32, bif: u16, args: &[Src], dst: Dst) {
        let mfa = self.bifs.mfa(bif);
        if let (&[a, b], true) = (args, mfa.module == am::ERLANG && mfa.function == atom!("/")) {
            return self.float_division(at, a, b, dst);
        }
        let fail = self.guard_fail(at);
        let other = self.failing(at, fail);
        self.spread(at, args.iter().copied(), R12);
        self.word(RBX, bif.into());
        self.word(R13, args.len() as u64);
        self.assist_or(self.assists.bif as usize, other);
        self.take(dst);
    }
    /// A fun over the free variables; more than [`SCRATCH_WORDS`] of them are stepped.
    pub fn make_fun(&mut self, at: u32, free: &[Src], dst: Dst) {
        if free.len() > SCRATCH_WORDS {
            return self.step_here(at);
        }
        let other = self.exit(at);
        self.spread(at, free.iter().copied(), R12);
        self.word(RBX, self.span.address(at));
        self.assist_or(self.assists.make_fun as usize, other);
        self.take(dst);
    }

    // ---- Messages ----

    /// `send`: the message in X\[1\] to X\[0\]; X\[0\] becomes the message.
    pub fn send(&mut self, at: u32) {
        let other = self.exit(at);
        dynasm!(self.ops ; .arch x64 ; mov rbx, rcx ; mov r12, r8);
        self.assist_or(self.assists.send as usize, other);
        self.take(Dst::x(0));
    }
    /// `loop_rec`: X\[0\] becomes the message at the mailbox's cursor.
    pub fn loop_rec(&mut self, at: u32) {
        // The step takes in what has arrived, or leads to where the process waits.
        let other = self.exit(at);
        self.assist_or(self.assists.peek as usize, other);
        self.take(Dst::x(0));
    }
    /// On to the next message, if there is one; where there is none, to the beginning of the
    /// receive loop.
    pub fn loop_rec_end(&mut self, at: u32, target: i32) {
        let mut peeks = at.wrapping_add_signed(target);
        while matches!(self.span.code[peeks as usize], Instr::Cell { .. } | Instr::Nop) {
            peeks += 1;
        }
        if !matches!(self.span.code[peeks as usize], Instr::LoopRec { .. }) {
            // It looks at no message next.
            return self.step_here(at);
        }
        self.end_turn(at);
        let none = self.target(at, peeks.wrapping_sub(at) as i32);
        let behind = self.target(at, (peeks + 1).wrapping_sub(at) as i32);
        self.assist_or(self.assists.peek_next as usize, none);
        self.take(Dst::x(0));
        dynasm!(self.ops ; .arch x64 ; jmp =>behind);
    }
    /// `remove_message`: takes the message at the cursor out of the mailbox.
    pub fn remove_message(&mut self, at: u32) {
        let other = self.exit(at);
        self.assist_or(self.assists.take_message as usize, other);
    }
    /// `recv_marker_reserve`: `dst` becomes the number of a new receive marker.
    pub fn reserve_marker(&mut self, at: u32, dst: Dst) {
        let other = self.exit(at);
        self.assist_or(self.assists.reserve_marker as usize, other);
        self.take(dst);
    }
    /// Has something done with one or two words, which has no result.
    pub fn with_words(&mut self, at: u32, function: usize, first: Src, second: Option<Src>) {
        self.read_into(at, first, RBX);
        if let Some(second) = second {
            self.read_into(at, second, R12);
        }
        self.assist(function);
    }

    // ---- Maps ----

    /// `is_map`: flat or hashed.
    pub fn is_map(&mut self, at: u32, src: Src, fail: i32) {
        self.test_subtag(at, src, fail, MAPS);
    }
    /// `get_map_elements` and `has_map_fields`: the value of each key, where a pair without a
    /// destination only asks for its key. A `fail` of 0 has the interpreter raise.
    pub fn get_map(&mut self, at: u32, get: &MapGet) {
        let other = self.failing(at, (get.fail != 0).then_some(get.fail));
        if get.pairs.len() > SCRATCH_WORDS {
            return self.step_here(at);
        }
        if let [(key, dst)] = *get.pairs {
            self.read_into(at, get.map, R12);
            self.require_subtag(R12, MAPS, other);
            self.read_into(at, key, R10);
            dynasm!(self.ops ; .arch x64 ; mov rax, r12);
            self.ask(self.assists.map_get as usize);
            dynasm!(self.ops ; .arch x64 ; test rax, rax ; jz =>other);
            if let Some(dst) = dst {
                self.take(dst);
            }
            return;
        }
        self.read_into(at, get.map, RBX);
        self.require_subtag(RBX, MAPS, other);
        // The values take the keys' places.
        self.spread(at, get.pairs.iter().map(|&(key, _)| key), R12);
        self.word(R13, get.pairs.len() as u64);
        self.assist_or(self.assists.map_get_all as usize, other);
        for (number, &(_, dst)) in get.pairs.iter().enumerate() {
            if let Some(dst) = dst {
                self.load(RAX, 15, layout::SCRATCH + number as i32 * 8);
                self.take(dst);
            }
        }
    }
    /// `put_map_assoc` and `put_map_exact`, which the assist tells apart by the instruction at
    /// `at`.
    pub fn put_map(&mut self, at: u32, put: &MapPut, dst: Dst) {
        if put.pairs.len() * 2 + 1 > SCRATCH_WORDS {
            return self.step_here(at);
        }
        let other = self.failing(at, (put.fail != 0).then_some(put.fail));
        self.spread(
            at,
            std::iter::once(put.map).chain(put.pairs.iter().flat_map(|&(key, value)| [key, value])),
            R12,
        );
        self.word(RBX, self.span.address(at));
        self.assist_or(self.assists.map_put as usize, other);
        self.take(dst);
    }
    /// A flat map, where the block has room for it.
    pub fn new_map(&mut self, at: u32, keys: Src, values: &[Src], dst: Dst) {
        let slow = self.step_later(at);
        let words = values.len() + 2;
        self.require_room(words, slow);
        self.store_word(Header::new(Subtag::FlatMap, words - 1).0, RSI, 0);
        for (number, &src) in std::iter::once(&keys).chain(values).enumerate() {
            self.put(at, src, (number as i32 + 1) * 8);
        }
        self.take_boxed(words, dst);
    }
}
