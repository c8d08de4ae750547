//! What machine code has done by a function of the machine, between the words that it prepares and
//! the result that it takes up: calls of built-ins, maps, binaries, messages, funs. See
//! [`Assists`](swarmrt_machine::native::Assists).

use crate::plan::analysis::below;
use crate::plan::facts::{Fact, kind};
use crate::translate::built_ins::Comparison;
use crate::translate::{I64, Next, PASSED_X, Translator};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, MemFlagsData as MemFlags, Value};
use swarmrt_beam::instr::{Dst, FunPtr, Instr, MapGet, MapPut, Src};
use swarmrt_engine::code::Symbol;
use swarmrt_engine::layout;
use swarmrt_engine::runtime::assists::NO_TERM;
use swarmrt_engine::state::{MAP_HINTS, SCRATCH_WORDS, map_hint};
use swarmrt_term::{Header, Release, Subtag, Term, am, atom, release};

/// The keys that one instruction looks for in place.
const HINTED_KEYS_MAX: usize = 8;

impl Translator<'_, '_> {
    // ---- Calling ----

    /// Calls a function of words that gives a word.
    pub(crate) fn call_plain(&mut self, function: usize, args: &[Value]) -> Value {
        let signature = self.signatures.words(&mut self.b, args.len());
        let function = self.address(Symbol::machine(function as u64), function as u64);
        let call = self.b.ins().call_indirect(signature, function, args);
        self.b.inst_results(call)[0]
    }
    /// Has a part of an instruction done, with the scheduler's registers as the first argument. No
    /// assist collects or looks at X registers, so that values stay where they are.
    pub(crate) fn assisted(&mut self, function: usize, args: &[Value]) -> Value {
        let registers = self.registers();
        self.save_state();
        let args: Vec<Value> = std::iter::once(registers).chain(args.iter().copied()).collect();
        let result = self.call_plain(function, &args);
        self.reload_counters();
        result
    }
    /// Calls an assist as [`assisted`](Self::assisted) does; without a result, the interpreter
    /// executes the instruction.
    pub(crate) fn assist(&mut self, at: u32, function: usize, args: &[Value]) -> Value {
        let result = self.assisted(function, args);
        let failing = self.exit_block(at);
        self.require_term(result, failing);
        result
    }
    /// Calls an assist as [`assisted`](Self::assisted) does; without a result, goes to `failing` if
    /// there is one, or else leaves the instruction to the interpreter.
    pub(crate) fn assist_or(
        &mut self,
        at: u32,
        function: usize,
        args: &[Value],
        failing: Option<i32>,
    ) -> Value {
        let Some(distance) = failing else { return self.assist(at, function, args) };
        let result = self.assisted(function, args);
        let failing = self.target(self.relative(at, distance));
        self.require_term(result, failing);
        result
    }
    /// Goes on here with a term, to `other` without.
    pub(crate) fn require_term(&mut self, result: Value, other: Block) {
        const { assert!(NO_TERM == 0) };
        self.require(result, other);
    }
    /// The address of these words, for as long as one call lasts.
    pub(crate) fn spread(&mut self, words: &[Value]) -> Value {
        assert!(words.len() <= SCRATCH_WORDS, "more than that is stepped");
        let registers = self.registers();
        for (index, &word) in words.iter().enumerate() {
            self.store(word, registers, layout::SCRATCH + index as i32 * 8);
        }
        self.b.ins().iadd_imm_s(registers, i64::from(layout::SCRATCH))
    }
    pub(crate) fn values(&mut self, at: u32, sources: &[Src]) -> Vec<Value> {
        sources.iter().map(|&src| self.src(at, src)).collect()
    }

    // ---- Built-ins ----

    /// Calls what an instruction calls of the machine, by an assist; its result.
    fn result_of(&mut self, function: usize, at: u32, arity: u16) -> Value {
        self.write_frame();
        self.save_x(below(usize::from(arity)));
        self.save_state();
        let (registers, ip) = (self.registers(), self.instr(at));
        let result = self.call_plain(function, &[registers, ip]);
        self.reload_state();
        let failing = self.exit_saved_block(at);
        self.require_term(result, failing);
        result
    }
    /// Calls the built-in of a call instruction; its result.
    fn bif_result(&mut self, at: u32, arity: u16) -> Value {
        self.result_of(self.source.assists.call_bif as usize, at, arity)
    }
    /// Calls the function's native body, if there is one.
    pub(crate) fn native_body(&mut self, at: u32, arity: u16) -> Next {
        let instr = self.instr(at);
        let slot = self.load(instr, layout::native_slot_offset());
        let native = self.load(slot, 0);
        let call = self.later(move |translator| {
            let result =
                translator.result_of(translator.source.assists.call_native as usize, at, arity);
            translator.def_x(0, result);
            translator.leave_frame(0);
        });
        let own_code = self.target(at + 1);
        self.branch(native, call, own_code);
        Next::End
    }
    pub(crate) fn call_bif(&mut self, at: u32, bif: u16, arity: u16) -> Next {
        let here = self.in_place(at, bif, move |translator| {
            translator.call_any_bif(at, arity);
        });
        if here { self.join(at + 2) } else { self.call_any_bif(at, arity) }
    }
    fn call_any_bif(&mut self, at: u32, arity: u16) -> Next {
        let result = self.bif_result(at, arity);
        self.def_x(0, result);
        self.join(at + 2)
    }
    pub(crate) fn call_bif_last(&mut self, at: u32, bif: u16, arity: u16, frame: u16) -> Next {
        let here = self.in_place(at, bif, move |translator| {
            translator.call_any_bif_last(at, arity, frame);
        });
        if here { self.leave_frame(frame) } else { self.call_any_bif_last(at, arity, frame) }
    }
    fn call_any_bif_last(&mut self, at: u32, arity: u16, frame: u16) -> Next {
        let result = self.bif_result(at, arity);
        self.def_x(0, result);
        self.leave_frame(frame)
    }
    fn leave_frame(&mut self, frame: u16) -> Next {
        self.pop_frame(frame);
        self.give_back()
    }
    /// How far it is to the guard's failure, when the operation stands in a guard.
    pub(crate) fn guard_fail(&self, at: u32) -> Option<i32> {
        match self.code()[at as usize + 1] {
            Instr::Fail { target } => Some(target + 1),
            _ => None,
        }
    }
    /// Where an instruction leads that cannot do what it should: there, or to the step that raises.
    pub(crate) fn failing(&mut self, at: u32, fail: Option<i32>) -> Block {
        match fail {
            Some(distance) => self.target(self.relative(at, distance)),
            None => self.exit_block(at),
        }
    }
    /// How many bits the operand of `byte_size/1` or `bit_size/1` has, and whether the next
    /// instruction is also reached from cold code: from OTP 26 on, the size of what is left of a
    /// match may be asked for, and the built-in answers unless the operand is known to be a match
    /// context.
    fn bitstring_size(
        &mut self,
        at: u32,
        bif: u16,
        (source, binary): (Src, Value),
        dst: Dst,
        failing: Block,
    ) -> (Value, bool) {
        let known_kinds = self.fact(at, source);
        if known_kinds.is(kind::CONTEXT) {
            return (self.offset_and_left(binary).1, false);
        }
        if release::current() < Release::R26 || !known_kinds.may_be(kind::CONTEXT) {
            return (self.bits_of(binary, failing), false);
        }
        let fail = self.guard_fail(at);
        let other = self.later_cold(move |translator| {
            let number = translator.word(bif.into());
            let (count, args) = (translator.word(1), translator.spread(&[binary]));
            let assist = translator.source.assists.bif as usize;
            let size = translator.assist_or(at, assist, &[number, args, count], fail);
            translator.set_known(dst, size, Fact::integer(0, 1 << 58));
            let next = translator.target(at + 1);
            translator.b.ins().jump(next, &[]);
        });
        (self.bits_of(binary, other), true)
    }
    /// A built-in that yields a value, in a guard or a body.
    pub(crate) fn bif_value(&mut self, at: u32, bif: u16, args: &[Src], dst: Dst) -> Next {
        let mfa = self.source.bifs.mfa(bif);
        if let &[a, b] = args
            && mfa.module == am::ERLANG
            && mfa.function == atom!("/")
        {
            return self.divide(at, a, b, dst);
        }
        if let &[a, b] = args
            && mfa.module == am::ERLANG
            && let Some(comparison) = Comparison::named(mfa.function)
        {
            return self.comparison_value(at, comparison, a, b, dst);
        }
        let values = self.values(at, args);
        let fail = self.guard_fail(at);
        let failing = self.failing(at, fail);
        let known = mfa.module == am::ERLANG;
        let mut fact = Fact::ANY;
        // Whether cold code leads to the next instruction as well.
        let mut joins = false;
        let result = match (values.as_slice(), mfa.function) {
            (&[binary], name)
                if known && (name == atom!("byte_size") || name == atom!("bit_size")) =>
            {
                fact = Fact::integer(0, 1 << 58);
                let bits;
                (bits, joins) = self.bitstring_size(at, bif, (args[0], binary), dst, failing);
                if name == atom!("byte_size") {
                    let rounded = self.b.ins().iadd_imm_s(bits, 7);
                    let bytes = self.b.ins().ushr_imm_s(rounded, 3);
                    self.tag_small(bytes)
                } else {
                    self.tag_small(bits)
                }
            }
            (&[key, source], name)
                if known && (name == atom!("map_get") || name == atom!("is_map_key")) =>
            {
                self.require_map(source, failing);
                if name == atom!("map_get") {
                    self.map_get(at, source, key, fail)
                } else {
                    let value =
                        self.call_plain(self.source.assists.map_get as usize, &[source, key]);
                    let (yes, no) =
                        (self.word(Term::bool(true).raw()), self.word(Term::bool(false).raw()));
                    self.b.ins().select(value, yes, no)
                }
            }
            (&[map], name) if known && name == atom!("map_size") => {
                self.require_map(map, failing);
                fact = Fact::integer(0, 1 << 58);
                self.map_size(map)
            }
            (&[list], name) if known && name == atom!("length") => {
                fact = Fact::integer(0, 1 << 58);
                self.length(list, failing)
            }
            (&[value], name) if known && name == atom!("not") => {
                fact = Fact::of(kind::ATOM);
                let (yes, no) = (Term::bool(true).raw(), Term::bool(false).raw());
                let is_true = self.b.ins().icmp_imm_s(IntCC::Equal, value, yes as i64);
                let is_false = self.b.ins().icmp_imm_s(IntCC::Equal, value, no as i64);
                let either = self.b.ins().bor(is_true, is_false);
                self.require(either, failing);
                let (yes, no) = (self.word(yes), self.word(no));
                self.b.ins().select(is_true, no, yes)
            }
            _ => {
                let (count, args) = (self.word(values.len() as u64), self.spread(&values));
                let number = self.word(bif.into());
                self.assist_or(at, self.source.assists.bif as usize, &[number, args, count], fail)
            }
        };
        self.set_known(dst, result, fact);
        if joins { self.join(at + 1) } else { Next::At(at + 1) }
    }

    // ---- Funs and applications ----

    pub(crate) fn make_fun(&mut self, at: u32, entry: FunPtr, free: &[Src], dst: Dst) -> Next {
        if free.len() > SCRATCH_WORDS {
            return self.slow(at);
        }
        let values = self.values(at, free);
        let (ip, free) = (self.instr(at), self.spread(&values));
        let fun = self.assist(at, self.source.assists.make_fun as usize, &[ip, free]);
        // Of others it would be of no use.
        let known = if self.source.inlined.lambda(entry).is_some() {
            Fact::fun(entry)
        } else {
            Fact::of(kind::FUN)
        };
        self.set_known(dst, fun, known);
        Next::At(at + 1)
    }
    /// Goes on here when the value is a local fun of `arity`, else to `other`.
    pub(crate) fn require_fun(&mut self, fun: Value, arity: u16, other: Block) {
        let boxed = self.is_boxed(fun);
        self.require(boxed, other);
        let local = self.has_subtag(fun, &[Subtag::Fun]);
        self.require(local, other);
        let shape = self.load(fun, layout::boxed(2));
        let takes = self.b.ins().band_imm_s(shape, 0xff);
        let right = self.b.ins().icmp_imm_s(IntCC::Equal, takes, i64::from(arity));
        self.require(right, other);
    }
    pub(crate) fn call_fun(&mut self, at: u32, src: Src, arity: u16, frame: Option<u16>) -> Next {
        let fun = self.src(at, src);
        if let Some(lambda) = self.known_fun(at, src, arity)
            && let Some(next) = self.call_known_fun(at, fun, lambda, frame)
        {
            return next;
        }
        let slow = self.exit_block(at);
        self.require_fun(fun, arity, slow);
        let entry = self.load(fun, layout::boxed(1));
        let ip = self.load(entry, layout::fun_entry());
        self.require(ip, slow);
        // The free variables follow the arguments, in memory; those among the first registers are
        // read again.
        self.save_x(below(usize::from(arity)) & !below(PASSED_X));
        let header = self.header_of(fun);
        let words = self.b.ins().ushr_imm_s(header, layout::HEADER_WORDS_SHIFT);
        let free = self.b.ins().iadd_imm_s(words, -2);
        let (copy, copied) = (self.b.create_block(), self.b.create_block());
        self.b.append_block_param(copy, I64);
        let zero = self.word(0);
        self.b.ins().brif(free, copy, &[BlockArg::Value(zero)], copied, &[] as &[BlockArg]);
        self.b.switch_to_block(copy);
        let index = self.b.block_params(copy)[0];
        let offset = self.b.ins().ishl_imm_s(index, 3);
        let from = self.b.ins().iadd(fun, offset);
        let variable = self.load(from, layout::boxed(3));
        let registers = self.registers();
        let to = self.b.ins().iadd(registers, offset);
        self.store(variable, to, layout::x(usize::from(arity)));
        let next = self.b.ins().iadd_imm_s(index, 1);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, free);
        self.b.ins().brif(more, copy, &[BlockArg::Value(next)], copied, &[] as &[BlockArg]);
        self.b.switch_to_block(copied);
        let known = usize::from(arity).min(PASSED_X);
        let passed: Vec<Value> = (0..PASSED_X)
            .map(|number| if number < known { self.use_x(number) } else { self.load_x(number) })
            .collect();
        self.pop_or_push(at, frame);
        let cell = self.b.ins().iadd_imm_s(ip, -(layout::INSTR_BYTES as i64));
        self.enter_saved(cell, &passed);
        Next::End
    }
    /// Before a call: a tail call pops its frame, another pushes where it returns to.
    pub(crate) fn pop_or_push(&mut self, at: u32, frame: Option<u16>) {
        match frame {
            Some(frame) => self.pop_frame(frame),
            None => self.push_return(at),
        }
    }
    pub(crate) fn apply(&mut self, at: u32, arity: u16, frame: Option<u16>) -> Next {
        let (module, function) =
            (self.use_x(usize::from(arity)), self.use_x(usize::from(arity) + 1));
        let count = self.word(arity.into());
        let ip =
            self.assist(at, self.source.assists.apply_target as usize, &[module, function, count]);
        self.pop_or_push(at, frame);
        let cell = self.b.ins().iadd_imm_s(ip, -(layout::INSTR_BYTES as i64));
        self.enter(cell, arity);
        Next::End
    }

    /// Where a loop without calls comes round.
    pub(crate) fn end_turn(&mut self, at: u32) -> Next {
        let over = self.exit_block(at);
        let left = self.count_built_in();
        let more = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
        self.require(more, over);
        Next::At(at + 1)
    }

    // ---- Messages ----

    pub(crate) fn send(&mut self, at: u32) -> Next {
        let (to, message) = (self.use_x(0), self.use_x(1));
        let sent = self.assist(at, self.source.assists.send as usize, &[to, message]);
        self.def_x(0, sent);
        Next::At(at + 1)
    }
    pub(crate) fn receive_peek(&mut self, at: u32) -> Next {
        // The step takes in what has arrived, or leads to where the process waits.
        let message = self.assist(at, self.source.assists.peek as usize, &[]);
        self.def_x(0, message);
        self.join(at + 1)
    }
    /// On to the next message, if there is one; where there is none, to the beginning of the
    /// receive loop.
    pub(crate) fn receive_next(&mut self, at: u32, target: i32) -> Next {
        let mut peeks = self.relative(at, target);
        while matches!(self.code()[peeks as usize], Instr::Cell { .. } | Instr::Nop) {
            peeks += 1;
        }
        if !matches!(self.code()[peeks as usize], Instr::LoopRec { .. }) {
            // It looks at no message next.
            return self.slow(at);
        }
        let over = self.exit_block(at);
        let left = self.count_built_in();
        let more = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, left, 0);
        self.require(more, over);
        let registers = self.registers();
        let message = self.call_plain(self.source.assists.peek_next as usize, &[registers]);
        let none = self.target(peeks);
        self.require_term(message, none);
        self.def_x(0, message);
        self.join(peeks + 1)
    }
    pub(crate) fn take_message(&mut self, at: u32) -> Next {
        // Where there is none any more, the interpreter raises the error.
        self.assist(at, self.source.assists.take_message as usize, &[]);
        Next::At(at + 1)
    }

    // ---- Maps ----

    fn require_map(&mut self, value: Value, other: Block) {
        let boxed = self.is_boxed(value);
        self.require(boxed, other);
        let map = self.has_subtag(value, &[Subtag::FlatMap, Subtag::HashMap]);
        self.require(map, other);
    }
    /// The value of a key of what is known to be a map.
    fn map_get(&mut self, at: u32, source: Value, key: Value, fail: Option<i32>) -> Value {
        let value = self.call_plain(self.source.assists.map_get as usize, &[source, key]);
        let failing = self.failing(at, fail);
        self.require_term(value, failing);
        value
    }
    pub(crate) fn get_map(&mut self, at: u32, get: &MapGet) -> Next {
        let fail = (get.fail != 0).then_some(get.fail);
        let source = self.src(at, get.map);
        let failing = self.failing(at, fail);
        self.require_map(source, failing);
        let is_found_by_word = |&(key, _): &(Src, Option<Dst>)| {
            self.constant_term(at, key)
                .is_some_and(|key| key.is_immediate() && !key.is_float_immediate())
        };
        if get.pairs.len() <= HINTED_KEYS_MAX && get.pairs.iter().all(is_found_by_word) {
            return self.get_where_hinted(at, source, get);
        }
        if let [(key, dst)] = *get.pairs {
            let key = self.src(at, key);
            let value = self.map_get(at, source, key, fail);
            if let Some(dst) = dst {
                self.set(dst, value);
            }
            return Next::At(at + 1);
        }
        let keys: Vec<Src> = get.pairs.iter().map(|&(key, _)| key).collect();
        let keys = self.values(at, &keys);
        if keys.len() > SCRATCH_WORDS {
            return self.slow(at);
        }
        // The values take the keys' places.
        let (count, keys) = (self.word(keys.len() as u64), self.spread(&keys));
        self.assist_or(at, self.source.assists.map_get_all as usize, &[source, keys, count], fail);
        let registers = self.registers();
        for (index, &(_, dst)) in get.pairs.iter().enumerate() {
            if let Some(dst) = dst {
                let value = self.load(registers, layout::SCRATCH + index as i32 * 8);
                self.set(dst, value);
            }
        }
        Next::At(at + 1)
    }
    /// The values of keys that are the same words wherever they are: looked for in a flat map where
    /// they were found last.
    fn get_where_hinted(&mut self, at: u32, source: Value, get: &MapGet) -> Next {
        // Any number does; neighbours in the code and functions of other lengths had better not
        // share theirs.
        let first_hint = (at as usize).wrapping_mul(31).wrapping_add(self.code().len()) % MAP_HINTS;
        let keys: Vec<Src> = get.pairs.iter().map(|&(key, _)| key).collect();
        let keys = self.values(at, &keys);
        let (other, done) = (self.cold_block(), self.b.create_block());
        let values: Vec<Value> =
            keys.iter().map(|_| self.b.append_block_param(done, I64)).collect();
        let is_flat = self.has_subtag(source, &[Subtag::FlatMap]);
        self.require(is_flat, other);
        let header = self.header_of(source);
        let words = self.b.ins().ushr_imm_s(header, layout::HEADER_WORDS_SHIFT);
        let size = self.b.ins().iadd_imm_s(words, -1);
        let map_keys = self.load(source, layout::boxed(1));
        let registers = self.registers();
        let mut found = Vec::with_capacity(keys.len());
        for (index, &key) in keys.iter().enumerate() {
            let hint = layout::MAP_HINTS + map_hint(first_hint, index) as i32;
            let position = self.b.ins().uload8(I64, MemFlags::trusted(), registers, hint);
            let is_inside = self.b.ins().icmp(IntCC::UnsignedLessThan, position, size);
            self.require(is_inside, other);
            let offset = self.b.ins().ishl_imm_s(position, 3);
            let place = self.b.ins().iadd(map_keys, offset);
            let candidate = self.load(place, layout::boxed(1));
            let is_same = self.b.ins().icmp(IntCC::Equal, candidate, key);
            self.require(is_same, other);
            let place = self.b.ins().iadd(source, offset);
            found.push(BlockArg::Value(self.load(place, layout::boxed(2))));
        }
        self.b.ins().jump(done, &found);
        self.b.switch_to_block(other);
        let (count, first_hint) = (self.word(keys.len() as u64), self.word(first_hint as u64));
        let words = self.spread(&keys);
        self.assist_or(
            at,
            self.source.assists.map_find as usize,
            &[source, words, count, first_hint],
            (get.fail != 0).then_some(get.fail),
        );
        let registers = self.registers();
        let found: Vec<BlockArg> = (0..keys.len())
            .map(|index| BlockArg::Value(self.load(registers, layout::SCRATCH + index as i32 * 8)))
            .collect();
        self.b.ins().jump(done, &found);
        self.b.switch_to_block(done);
        for (&(_, dst), value) in get.pairs.iter().zip(values) {
            if let Some(dst) = dst {
                self.set(dst, value);
            }
        }
        Next::At(at + 1)
    }
    /// A flat map, where the block has room for it.
    pub(crate) fn new_map(&mut self, at: u32, keys: Src, values: &[Src], dst: Dst) -> Next {
        let keys = self.src(at, keys);
        let values = self.values(at, values);
        let other = self.later_cold(move |translator| {
            translator.slow(at);
        });
        self.require_room(values.len() + 2, other);
        let map = self.bump(values.len() + 2);
        let header = self.word(Header::new(Subtag::FlatMap, values.len() + 1).0);
        for (index, &word) in [header, keys].iter().chain(&values).enumerate() {
            self.store(word, map, index as i32 * 8);
        }
        let map = self.b.ins().iadd_imm_s(map, layout::BOXED_TAG);
        self.set_known(dst, map, Fact::of(kind::MAP));
        self.join(at + 1)
    }
    pub(crate) fn put_map(&mut self, at: u32, put: &MapPut, dst: Dst) -> Next {
        let sources: Vec<Src> = std::iter::once(put.map)
            .chain(put.pairs.iter().flat_map(|&(key, value)| [key, value]))
            .collect();
        if sources.len() > SCRATCH_WORDS {
            return self.slow(at);
        }
        let values = self.values(at, &sources);
        let (ip, values) = (self.instr(at), self.spread(&values));
        let map = self.assist_or(
            at,
            self.source.assists.map_put as usize,
            &[ip, values],
            (put.fail != 0).then_some(put.fail),
        );
        self.set_known(dst, map, Fact::of(kind::MAP));
        Next::At(at + 1)
    }
}
