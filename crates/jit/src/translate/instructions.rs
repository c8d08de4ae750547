//! The translation of each instruction.

use super::{Next, TRACKED_F, Translator};
use super::{bits, scalar_tuples};
use crate::plan::facts::{Fact, kind};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, SourceLoc, Value};
use cranelift_frontend::Switch;
use swarmrt_beam::instr::{Dst, Instr, Select, Src};
use swarmrt_engine::code::Symbol;
use swarmrt_engine::layout;
use swarmrt_term::{Subtag, Term, release};

impl Translator<'_, '_> {
    /// The Y registers of a new frame that are written before anybody can look.
    fn written_soon(&self, mut at: u32) -> u64 {
        let mut written = 0u64;
        let mut add = |y: u16| {
            if y < 64 {
                written |= 1 << y;
            }
        };
        loop {
            match self.code()[at as usize] {
                Instr::MoveXY { to, .. } => add(to),
                Instr::MoveXY2 { to1, to2, .. } => {
                    add(to1);
                    add(to2);
                }
                Instr::InitY { registers } => registers.iter().for_each(|&y| add(y)),
                Instr::MoveXX { .. }
                | Instr::MoveKX { .. }
                | Instr::MoveXX2 { .. }
                | Instr::Nop => {}
                _ => return written,
            }
            at += 1;
            if self.flow().is_target(at) {
                return written;
            }
        }
    }
    /// Where the immediates of a selection lead.
    fn select(&mut self, at: u32, value: Value, keys: &[u64], targets: &[i32], fail: i32) -> Next {
        let mut switch = Switch::new();
        let mut seen = std::collections::HashSet::new();
        for (&key, &target) in keys.iter().zip(targets) {
            if seen.insert(key) {
                let block = self.target(self.relative(at, target));
                switch.set_entry(u128::from(key), block);
            }
        }
        let fail = self.target(self.relative(at, fail));
        switch.emit(&mut self.b, value, fail);
        Next::End
    }
    fn select_number(
        &mut self,
        at: u32,
        word: Value,
        min: i64,
        targets: &[i32],
        fail: i32,
    ) -> Next {
        let fail_block = self.target(self.relative(at, fail));
        let is_small = self.is_small(word);
        self.require(is_small, fail_block);
        let number = self.small_value(word);
        let number = self.b.ins().iadd_imm_s(number, min.wrapping_neg());
        let keys: Vec<u64> = (0..targets.len() as u64).collect();
        self.select(at, number, &keys, targets, fail)
    }
    #[allow(clippy::too_many_lines, reason = "one arm an instruction")]
    pub(super) fn instruction(&mut self, at: u32) -> Next {
        self.b.set_srcloc(SourceLoc::new(self.body().location(at)));
        let on = Next::At(at + 1);
        // Others may lead to several blocks before and after they ask for a target.
        if !self.code()[at as usize].properties().straight {
            self.settle_stop();
        }
        if !scalar_tuples::keeps_scalars(&self.code()[at as usize]) && !self.is_root(at) {
            self.build_all();
        }
        match self.code()[at as usize] {
            // Other ways to this instruction bring no X registers.
            Instr::Cell { .. } => {
                self.facts.forget_x();
                on
            }
            Instr::Nop | Instr::Fail { .. } => on,
            Instr::MoveXX { from, to } => {
                self.copy(at, Src::x(from), Dst::x(to));
                on
            }
            Instr::MoveXY { from, to } => {
                self.copy(at, Src::x(from), Dst::y(to));
                on
            }
            Instr::MoveYX { from, to } => {
                self.copy(at, Src::y(from), Dst::x(to));
                on
            }
            Instr::MoveKX { to, value } => {
                let word = self.constant_word(value.raw());
                self.set_known(Dst::x(to), word, Fact::of_term(value));
                on
            }
            Instr::Move { src, dst } => {
                self.copy(at, src, dst);
                on
            }
            Instr::MoveXX2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::x(from1), Dst::x(to1));
                self.copy(at, Src::x(from2), Dst::x(to2));
                on
            }
            Instr::MoveXY2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::x(from1), Dst::y(to1));
                self.copy(at, Src::x(from2), Dst::y(to2));
                on
            }
            Instr::MoveYX2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::y(from1), Dst::x(to1));
                self.copy(at, Src::y(from2), Dst::x(to2));
                on
            }
            Instr::Swap { a, b } => {
                let (first, second) = (self.src(at, a.as_src()), self.src(at, b.as_src()));
                let (known_first, known_second) = (self.facts.of(a), self.facts.of(b));
                self.set_known(a, second, known_second);
                self.set_known(b, first, known_first);
                on
            }
            Instr::InitY { registers } => {
                let nil = self.word(Term::NIL.raw());
                for &y in registers.iter() {
                    self.store_y(y.into(), nil);
                }
                on
            }

            Instr::Allocate { frame, heap, .. } => {
                if self.source.stress {
                    return self.slow(at);
                }
                let slow = self.exit_block(at);
                self.require_room(frame as usize + heap as usize, slow);
                self.push_frame(frame);
                let written = self.written_soon(at + 1);
                let nil = self.word(Term::NIL.raw());
                for y in 0..frame {
                    if y >= 64 || written & (1 << y) == 0 {
                        self.store_y(y.into(), nil);
                    }
                }
                on
            }
            Instr::Deallocate { frame } => {
                self.pop_frame(frame);
                on
            }
            Instr::Trim { words } => {
                self.pop_frame(words);
                on
            }
            Instr::TestHeap { words, .. } => {
                if self.source.stress {
                    return self.slow(at);
                }
                let slow = self.exit_block(at);
                self.require_room(words as usize, slow);
                on
            }

            Instr::Call { arity, target } => {
                self.push_return(at);
                self.call_local(at, target, arity, false)
            }
            Instr::CallLast { arity, frame, target } => {
                self.pop_frame(frame);
                self.call_local(at, target, arity, true)
            }
            Instr::CallOnly { arity, target } => self.call_local(at, target, arity, true),
            Instr::CallExt { arity, export } => {
                self.push_return(at);
                self.call_export(at, export, arity)
            }
            Instr::CallExtLast { arity, frame, export } => {
                self.pop_frame(frame);
                self.call_export(at, export, arity)
            }
            Instr::CallExtOnly { arity, export } => self.call_export(at, export, arity),
            Instr::Return => self.give_back(),

            Instr::Jump { target } => {
                let block = self.target(self.relative(at, target));
                self.b.ins().jump(block, &[]);
                Next::End
            }
            Instr::SelectVal { src, select } => match &*select {
                Select::Jump { min, targets, fail } => {
                    let word = self.src(at, src);
                    self.select_number(at, word, *min, targets, *fail)
                }
                Select::Search { keys, targets, fail } => {
                    let word = self.src(at, src);
                    self.select(at, word, keys, targets, *fail)
                }
                Select::Each { .. } => self.slow(at),
            },
            Instr::SelectArity { src, select } => match &*select {
                Select::Jump { fail, .. } | Select::Search { fail, .. } => {
                    let value = self.src(at, src);
                    let fail_block = self.target(self.relative(at, *fail));
                    let header = self.require_tuple(at, src, value, fail_block);
                    let arity = self.b.ins().ushr_imm_s(header, layout::HEADER_WORDS_SHIFT);
                    let word = self.tag_small(arity);
                    match &*select {
                        Select::Jump { min, targets, fail } => {
                            self.select_number(at, word, *min, targets, *fail)
                        }
                        Select::Search { keys, targets, fail } => {
                            self.select(at, word, keys, targets, *fail)
                        }
                        Select::Each { .. } => unreachable!("sorted out above"),
                    }
                }
                Select::Each { .. } => self.slow(at),
            },

            Instr::IsInteger { src, fail } => {
                self.test_number(at, src, fail, kind::SMALL, kind::BIG)
            }
            Instr::IsFloat { src, fail } => {
                self.test_number(at, src, fail, kind::FLOAT, kind::BOXED_FLOAT)
            }
            Instr::IsNumber { src, fail } => self.test_number(
                at,
                src,
                fail,
                kind::SMALL | kind::FLOAT,
                kind::BIG | kind::BOXED_FLOAT,
            ),
            Instr::IsAtom { src, fail } => {
                self.test_word(at, src, fail, kind::ATOM, |translator, value, _| {
                    translator.tag_is(value, layout::IMMEDIATE_MASK, layout::ATOM_TAG)
                })
            }
            Instr::IsNil { src, fail } => {
                self.test_word(at, src, fail, kind::NIL, |translator, value, _| {
                    translator.is_nil(value)
                })
            }
            Instr::IsNilX { x, fail } => {
                self.test_word(at, Src::x(x), fail, kind::NIL, |translator, value, _| {
                    translator.is_nil(value)
                })
            }
            Instr::IsList { src, fail } => {
                self.test_word(at, src, fail, kind::CONS | kind::NIL, |translator, value, _| {
                    let (nil, cons) = (translator.is_nil(value), translator.is_cons(value));
                    translator.b.ins().bor(nil, cons)
                })
            }
            Instr::IsCons { src, fail } => {
                self.test_word(at, src, fail, kind::CONS, Self::is_cons_of)
            }
            Instr::IsConsX { x, fail } => {
                self.test_word(at, Src::x(x), fail, kind::CONS, Self::is_cons_of)
            }
            Instr::IsConsGetListX { x, head, tail, fail } => {
                if let Next::End = self.test_word(at, Src::x(x), fail, kind::CONS, Self::is_cons_of)
                {
                    return Next::End;
                }
                let list = self.use_x(x.into());
                let (first, rest) = (self.load(list, layout::HEAD), self.load(list, layout::TAIL));
                self.set(head, first);
                self.set(tail, rest);
                on
            }
            Instr::IsBoolean { src, fail } => {
                let value = self.src(at, src);
                let yes =
                    self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::bool(true).raw() as i64);
                let no =
                    self.b.ins().icmp_imm_s(IntCC::Equal, value, Term::bool(false).raw() as i64);
                let is = self.b.ins().bor(yes, no);
                let next = self.test(at, is, fail);
                self.facts.learn(src, Fact::of(kind::ATOM));
                next
            }
            Instr::IsTuple { src, fail } => {
                self.test_boxed(at, src, fail, &[Subtag::Tuple], kind::TUPLE)
            }
            Instr::IsRecord { src, fail } => {
                self.test_boxed(at, src, fail, &[Subtag::Record], kind::OTHER)
            }
            Instr::IsMap { src, fail } => {
                self.test_boxed(at, src, fail, &[Subtag::FlatMap, Subtag::HashMap], kind::MAP)
            }
            Instr::IsFunction { src, fail } => {
                self.test_boxed(at, src, fail, &[Subtag::Fun, Subtag::ExportFun], kind::FUN)
            }
            Instr::IsBitstring { src, fail } => {
                let subtags =
                    [Subtag::HeapBin, Subtag::SharedBin, Subtag::SubBin, Subtag::MatchContext];
                self.test_boxed(at, src, fail, &subtags, kind::BITS | kind::CONTEXT)
            }
            Instr::IsTupleOf { src, arity, fail } | Instr::TestArity { src, arity, fail } => {
                match self.test_arity(at, src, arity, fail) {
                    Ok(()) => on,
                    Err(next) => next,
                }
            }
            Instr::IsTaggedTuple { src, arity, tag, fail } if arity > 0 => {
                if let Err(next) = self.test_arity(at, src, arity.into(), fail) {
                    return next;
                }
                self.require_tag(at, src, tag, fail);
                on
            }
            Instr::IsTagged { src, tag, fail } => {
                self.require_tag(at, src, tag, fail);
                on
            }
            Instr::IsLt { a, b, fail } => self.compare(at, a, b, fail, true),
            Instr::IsGe { a, b, fail } => self.compare(at, a, b, fail, false),
            Instr::IsLtXI { x, value, fail } => {
                self.compare(at, Src::x(x), Src::small(value), fail, true)
            }
            Instr::IsGeXI { x, value, fail } => {
                self.compare(at, Src::x(x), Src::small(value), fail, false)
            }
            Instr::IsEq { a, b, fail } => self.equality(at, a, b, fail, false, true),
            Instr::IsNe { a, b, fail } => self.equality(at, a, b, fail, false, false),
            Instr::IsEqExact { a, b, fail } => self.equality(at, a, b, fail, true, true),
            Instr::IsNeExact { a, b, fail } => self.equality(at, a, b, fail, true, false),
            Instr::IsEqImmX { x, fail, value } => self.test_immediate(at, x, value, fail, true),
            Instr::IsNeImmX { x, fail, value } => self.test_immediate(at, x, value, fail, false),

            Instr::GetList { src, head, tail } => {
                let list = self.list_cell(at, src);
                let (first, rest) = (self.load(list, layout::HEAD), self.load(list, layout::TAIL));
                self.set(head, first);
                self.set(tail, rest);
                on
            }
            Instr::GetHead { src, dst } => {
                let list = self.list_cell(at, src);
                let first = self.load(list, layout::HEAD);
                self.set(dst, first);
                on
            }
            Instr::GetTail { src, dst } => {
                let list = self.list_cell(at, src);
                let rest = self.load(list, layout::TAIL);
                self.set(dst, rest);
                on
            }
            Instr::GetElement { src, index, dst } => {
                self.get_elements(at, src, index as usize, &[dst]);
                on
            }
            Instr::GetElement2 { src, index, dst1, dst2 } => {
                self.get_elements(at, src, index as usize, &[dst1, dst2]);
                on
            }
            Instr::PutList { head, tail, dst } => {
                let (first, rest) = (self.src(at, head), self.src(at, tail));
                let cell = self.bump(2);
                self.store(first, cell, 0);
                self.store(rest, cell, 8);
                let list = self.b.ins().iadd_imm_s(cell, Term::TAG_CONS as i64);
                self.set_known(dst, list, Fact::of(kind::CONS));
                on
            }
            Instr::PutTuple { dst, elements } => {
                if !self.put_scalars(at, dst, &elements) {
                    let values: Vec<Value> =
                        elements.iter().map(|&element| self.src(at, element)).collect();
                    let tuple = self.new_tuple(&values);
                    self.set_known(dst, tuple, Fact::tuple(values.len() as u32, true));
                }
                on
            }

            Instr::UpdateRecord { dst, update } => self.update_record(at, &update, dst),

            Instr::AddXI { x, to, value } => self.add_constant(at, Src::x(x), value, Dst::x(to)),
            Instr::AddYI { y, dst, value } => self.add_constant(at, Src::y(y), value, dst),
            Instr::Add { a, b, dst }
            | Instr::Sub { a, b, dst }
            | Instr::Mul { a, b, dst }
            | Instr::IntDiv { a, b, dst }
            | Instr::Rem { a, b, dst }
            | Instr::Band { a, b, dst }
            | Instr::Bor { a, b, dst }
            | Instr::Bxor { a, b, dst }
            | Instr::Bsl { a, b, dst }
            | Instr::Bsr { a, b, dst } => self.arithmetic(at, a, b, dst),
            Instr::Element { a, b, dst } => {
                let (index, tuple) = (self.src(at, a), self.src(at, b));
                let fail = self.guard_fail(at);
                let slow = self.failing(at, fail);
                let header = self.require_tuple(at, b, tuple, slow);
                if !self.fact(at, a).is(kind::SMALL) {
                    let small = self.is_small(index);
                    self.require(small, slow);
                }
                let number = self.small_value(index);
                let arity = self.b.ins().ushr_imm_s(header, layout::HEADER_WORDS_SHIFT);
                let from_zero = self.b.ins().iadd_imm_s(number, -1);
                let within = self.b.ins().icmp(IntCC::UnsignedLessThan, from_zero, arity);
                self.require(within, slow);
                self.facts.learn(a, Fact::of(kind::SMALL));
                let offset = self.b.ins().ishl_imm_s(number, 3);
                let place = self.b.ins().iadd(tuple, offset);
                let element = self.load(place, layout::boxed(0));
                self.set(dst, element);
                on
            }
            Instr::Hd { a, dst } | Instr::Tl { a, dst } => {
                let list = self.src(at, a);
                let known = self.fact(at, a);
                if !known.is(kind::CONS) {
                    let fail = self.guard_fail(at);
                    let slow = self.failing(at, fail);
                    let is = self.is_cons_of(list, known);
                    self.require(is, slow);
                    self.facts.learn(a, Fact::of(kind::CONS));
                }
                let offset = if matches!(self.code()[at as usize], Instr::Hd { .. }) {
                    layout::HEAD
                } else {
                    layout::TAIL
                };
                let part = self.load(list, offset);
                self.set(dst, part);
                on
            }
            Instr::TupleSize { a, dst } => {
                let tuple = self.src(at, a);
                let fail = self.guard_fail(at);
                let slow = self.failing(at, fail);
                let header = self.require_tuple(at, a, tuple, slow);
                let arity = self.b.ins().ushr_imm_s(header, layout::HEADER_WORDS_SHIFT);
                let word = self.tag_small(arity);
                self.set_known(dst, word, Fact::integer(0, i128::from(u32::MAX)));
                on
            }

            Instr::LoadFloat { src, to } if usize::from(to) < TRACKED_F => {
                self.load_float(at, src, to)
            }
            Instr::StoreFloat { from, dst } if usize::from(from) < TRACKED_F => {
                self.store_float(from, dst);
                on
            }
            Instr::MoveFloat { from, to } if usize::from(from.max(to)) < TRACKED_F => {
                let value = self.use_f(from);
                self.def_f(to, value);
                on
            }
            Instr::FloatAdd { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fadd(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatSub { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fsub(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatMul { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fmul(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatDiv { a, b, to } if usize::from(a.max(b).max(to)) < TRACKED_F => {
                let (a, b) = (self.use_f(a), self.use_f(b));
                let value = self.b.ins().fdiv(a, b);
                self.float_operation(at, value, to)
            }
            Instr::FloatNeg { a, to } if usize::from(a.max(to)) < TRACKED_F => {
                let a = self.use_f(a);
                let value = if release::current().distinguishes_zeros() {
                    self.b.ins().fneg(a)
                } else {
                    // A subtraction, so that 0.0 stays positive.
                    let zero = self.b.ins().f64const(0.0);
                    self.b.ins().fsub(zero, a)
                };
                self.def_f(to, value);
                on
            }

            Instr::Catch { y, handler } => {
                let handler = self.relative(at, handler);
                let address = self.address_of(handler);
                let symbol = match self.source.inlined.other_instr(address) {
                    None => Symbol::Handler(handler),
                    Some((module, at)) => Symbol::OtherHandler { module: module.name.index(), at },
                };
                if self
                    .source
                    .inlined
                    .other_instr(address)
                    .is_some_and(|(module, _)| module.digest.is_none())
                {
                    self.source.symbols.tie_to_run();
                }
                let mark = self.address(symbol, Term::catch_mark(address).raw());
                self.store_y(y.into(), mark);
                on
            }
            Instr::TryEnd { y } => {
                let nil = self.word(Term::NIL.raw());
                self.store_y(y.into(), nil);
                on
            }

            Instr::BsStartMatch { src, dst, fail } => self.start_match(at, src, dst, fail),
            Instr::BsGetPosition { context, dst } => {
                let (context, _) = self.context(at, context);
                let offset = self.load(context, layout::CONTEXT_OFFSET);
                let position = self.tag_small(offset);
                self.set(dst, position);
                self.join(at + 1)
            }
            Instr::BsSetPosition { context, position } => {
                let (context, slow) = self.context(at, context);
                let position = self.src(at, position);
                let small = self.is_small(position);
                self.require(small, slow);
                let offset = self.small_value(position);
                let end = self.load(context, layout::CONTEXT_END);
                let within = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, offset, end);
                self.require(within, slow);
                self.store(offset, context, layout::CONTEXT_OFFSET);
                self.join(at + 1)
            }
            Instr::BsTestTail { context, bits, fail } => {
                let (context, _) = self.context(at, context);
                let (_, left) = self.offset_and_left(context);
                let holds = self.b.ins().icmp_imm_s(IntCC::Equal, left, bits as i64);
                let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
                self.branch(holds, next, fail);
                Next::End
            }
            Instr::BsTestUnit { context, unit, fail } if unit.is_power_of_two() => {
                let (context, _) = self.context(at, context);
                let (_, left) = self.offset_and_left(context);
                let rest = self.b.ins().band_imm_s(left, i64::from(unit) - 1);
                let (next, fail) = (self.target(at + 1), self.target(self.relative(at, fail)));
                self.branch(rest, fail, next);
                Next::End
            }
            Instr::BsSkip { unit, context, size, fail } => {
                let (context, slow) = self.context(at, context);
                let bits = self.segment_bits(at, context, size, unit, fail, slow);
                self.move_by(context, bits);
                self.join(at + 1)
            }
            Instr::BsGetInteger { flags: 0, unit, context, size, dst, fail }
                if self.field_bits(at, size, unit).is_some() =>
            {
                let bits = self.field_bits(at, size, unit).expect("just asked");
                self.get_field(at, context, bits, dst, fail)
            }
            Instr::BsGetInteger { flags, unit, context, size, dst, fail } => {
                self.get_integer(at, context, size, unit, flags, dst, fail)
            }
            Instr::BsGetBinary { unit, context, size, dst, fail, .. } => {
                self.get_binary(at, context, size, unit, dst, fail)
            }
            Instr::BsGetRest { unit, context, dst, fail, .. } => {
                self.get_rest(at, context, unit, dst, fail)
            }
            Instr::BsSkipRest { unit, context, fail, .. } => {
                self.skip_rest(at, context, unit, fail)
            }
            Instr::BsGetTail { context, dst } => self.get_tail(at, context, dst),
            Instr::BsGetUtf { utf, context, dst, fail, .. } => {
                self.get_utf(at, utf, context, dst, fail)
            }
            Instr::BsMatch { plan } => self.bs_match(at, &plan),
            Instr::BsCreateBin { plan } => self.create_binary(at, &plan),
            Instr::BsMatchString { context, fail, bits: string }
                if string.0 > 0 && string.0 % 8 == 0 && string.0 <= 512 =>
            {
                self.match_string(at, context, &string.1[..string.0 as usize / 8], fail)
            }

            Instr::BsMatchString { context, fail, bits: string }
                if (1..=bits::FIELD_BITS_MAX as usize).contains(&(string.0 as usize)) =>
            {
                let count = string.0;
                let bytes = (count as usize).div_ceil(8);
                let wanted =
                    string.1[..bytes].iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
                self.match_bits(at, context, count, wanted >> (bytes as u32 * 8 - count), fail)
            }
            Instr::BsGetFloat { flags, unit, context, size, dst, fail }
                if matches!(self.size_bits(at, size, unit), Some(32 | 64)) =>
            {
                let bits = self.size_bits(at, size, unit).expect("just asked");
                self.get_float(at, context, bits, flags, dst, fail)
            }

            Instr::CallBif { bif, .. }
            | Instr::CallBifLast { bif, .. }
            | Instr::CallBifOnly { bif, .. }
                if self.source.bifs.has_breakpoint(bif) =>
            {
                self.slow(at)
            }
            Instr::CallBif { arity, bif } => self.call_bif(at, bif, arity),
            Instr::CallBifLast { arity, frame, bif } => self.call_bif_last(at, bif, arity, frame),
            Instr::CallBifOnly { arity, bif } | Instr::BifBody { arity, bif, .. } => {
                self.call_bif_last(at, bif, arity, 0)
            }
            Instr::NativeBody { arity, .. } => self.native_body(at, arity),
            Instr::Bif0 { bif, dst } => self.bif_value(at, bif, &[], dst),
            Instr::Bif1 { bif, a, dst } => self.bif_value(at, bif, &[a], dst),
            Instr::Bif2 { bif, a, b, dst } => self.bif_value(at, bif, &[a, b], dst),
            Instr::Bif3 { bif, dst, args } => self.bif_value(at, bif, &*args, dst),
            Instr::MakeFun { dst, free, .. } => self.make_fun(at, free.0, &free.1, dst),
            Instr::CallFun { arity } => self.call_fun(at, Src::x(arity), arity, None),
            Instr::CallFun2 { arity, fun } => self.call_fun(at, fun, arity, None),
            Instr::CallFunLast { arity, frame, fun } => self.call_fun(at, fun, arity, Some(frame)),
            Instr::IsFunctionOf { src, arity, .. }
                if self
                    .constant(at, arity)
                    .is_some_and(|word| word & 0b11 == 0b11 && word >> 2 < 256) =>
            {
                let arity = self.constant(at, arity).expect("just seen") >> 2;
                if self.known_fun(at, src, arity as u16).is_some() {
                    return on;
                }
                let fun = self.src(at, src);
                // An external fun, or none at all.
                let other = self.later(move |translator| translator.step(at));
                self.require_fun(fun, arity as u16, other);
                self.facts.learn(src, Fact::of(kind::FUN));
                on
            }
            Instr::Apply { arity } => self.apply(at, arity, None),
            Instr::ApplyLast { arity, frame } => self.apply(at, arity, Some(frame)),
            Instr::EndTurn { .. } => self.end_turn(at),
            Instr::Send => self.send(at),
            Instr::LoopRec { .. } => self.receive_peek(at),
            Instr::LoopRecEnd { target } => self.receive_next(at, target),
            Instr::RecvMarkerReserve { dst } => {
                let registers = self.registers();
                let marker =
                    self.call_plain(self.source.assists.reserve_marker as usize, &[registers]);
                let failing = self.exit_block(at);
                self.require_term(marker, failing);
                self.set_known(dst, marker, Fact::of(kind::SMALL));
                on
            }
            Instr::RecvMarkerBind { marker, reference } => {
                let (registers, marker, reference) =
                    (self.registers(), self.src(at, marker), self.src(at, reference));
                self.call_plain(
                    self.source.assists.bind_marker as usize,
                    &[registers, marker, reference],
                );
                on
            }
            Instr::RecvMarkerClear { reference } => {
                let (registers, reference) = (self.registers(), self.src(at, reference));
                self.call_plain(self.source.assists.clear_marker as usize, &[registers, reference]);
                on
            }
            Instr::RecvMarkerUse { reference } => {
                let (registers, reference) = (self.registers(), self.src(at, reference));
                self.call_plain(self.source.assists.use_marker as usize, &[registers, reference]);
                on
            }
            Instr::RemoveMessage => self.take_message(at),
            Instr::GetMap { get } => self.get_map(at, &get),
            Instr::NewMap { keys, values, dst } => self.new_map(at, keys, &values, dst),
            Instr::PutMap { dst, put } => self.put_map(at, &put, dst),
            Instr::IsBinary { src, fail } => self.is_binary(at, src, fail),
            Instr::IsPid { src, fail } => {
                self.test_address(at, src, fail, Term::pid(0), Subtag::ExternalPid)
            }
            Instr::IsPort { src, fail } => {
                self.test_address(at, src, fail, Term::port(0), Subtag::ExternalPort)
            }
            Instr::IsReference { src, fail } => {
                self.test_boxed(at, src, fail, &[Subtag::Ref, Subtag::ExternalRef], kind::OTHER)
            }

            ref instr if instr.properties().exits => {
                self.exit_at(at);
                Next::End
            }
            _ => self.slow(at),
        }
    }
    /// A pid or a port: one of this node, as `local` is one, or of another.
    fn test_address(
        &mut self,
        at: u32,
        src: Src,
        fail: i32,
        local: Term,
        external: Subtag,
    ) -> Next {
        let value = self.src(at, src);
        let (next, other) = (self.target(at + 1), self.b.create_block());
        let tag = local.raw() as i64 & layout::IMMEDIATE_MASK;
        let is_local = self.tag_is(value, layout::IMMEDIATE_MASK, tag);
        self.branch(is_local, next, other);
        self.b.switch_to_block(other);
        self.test_boxed(at, src, fail, &[external], kind::OTHER)
    }
    pub(crate) fn slow(&mut self, at: u32) -> Next {
        self.step(at);
        Next::End
    }
    /// The highest element of a tuple that is taken in the run of instructions that begins here,
    /// counted from 0.
    fn last_element(&self, at: u32, tuple: Src) -> usize {
        let mut last = 0;
        for next in at.. {
            let written: [Option<Dst>; 2] = match self.code()[next as usize] {
                Instr::GetElement { src, index, dst } => {
                    if src == tuple {
                        last = last.max(index as usize);
                    }
                    [Some(dst), None]
                }
                Instr::GetElement2 { src, index, dst1, dst2 } => {
                    if src == tuple {
                        last = last.max(index as usize + 1);
                    }
                    [Some(dst1), Some(dst2)]
                }
                ref instr if instr.writes_floats_only() => [None, None],
                _ => return last,
            };
            if written.into_iter().flatten().any(|dst| dst.as_src() == tuple)
                || self.flow().is_target(next + 1)
            {
                return last;
            }
        }
        last
    }
    /// A tuple that has an element `index`, counted from 0; anything else is left to the
    /// interpreter.
    pub(super) fn tuple_with(&mut self, at: u32, src: Src, index: usize) -> Value {
        let tuple = self.src(at, src);
        let known = self.fact(at, src);
        if !(known.is(kind::TUPLE) && known.arity as usize > index) {
            // Once for all elements that are taken in a row.
            let index = index.max(self.last_element(at, src));
            let other = self.exit_block(at);
            if !known.is(kind::BOXED) {
                let boxed = self.is_boxed(tuple);
                self.require(boxed, other);
            }
            // How many elements it has, counted from those that are wanted; of what is no tuple, it
            // is far more than there can be.
            let header = self.header_of(tuple);
            let bare = self.b.ins().iadd_imm_s(header, -layout::header_kind(Subtag::Tuple));
            let arity = self.b.ins().rotr_imm_s(bare, layout::HEADER_WORDS_SHIFT);
            let beyond = self.b.ins().iadd_imm_s(arity, -(index as i64 + 1));
            let fine = self.b.ins().icmp_imm_s(IntCC::UnsignedLessThan, beyond, 1 << 30);
            self.require(fine, other);
            self.facts.learn(src, Fact::tuple(index as u32 + 1, false));
        }
        tuple
    }
}
