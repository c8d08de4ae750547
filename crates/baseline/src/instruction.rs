//! What each instruction becomes.

use crate::emitter::{Emitter, PASSED, R10, R11};
use dynasmrt::{DynasmLabelApi, dynasm};
use swarmrt_beam::instr::{Dst, Instr, Src};
use swarmrt_engine::layout;
use swarmrt_term::{Subtag, Term};

impl Emitter<'_> {
    /// Emits one instruction. One without a sequence of its own is stepped, or left to the
    /// interpreter where it ends the piece.
    pub fn instruction(&mut self, at: u32, instr: Instr) {
        if !(self.moves(at, instr)
            || self.transfers(at, instr)
            || self.tests(at, instr)
            || self.data_instruction(at, instr)
            || self.rest(at, instr))
        {
            if instr.properties().exits {
                let exit = self.exit(at);
                dynasm!(self.ops ; .arch x64 ; jmp =>exit);
                self.facts.clear();
            } else {
                self.step_here(at);
            }
        }
    }

    /// Whether it was one that moves words.
    fn moves(&mut self, at: u32, instr: Instr) -> bool {
        let nil = Term::NIL.raw();
        match instr {
            Instr::Cell { .. } | Instr::Nop | Instr::Fail { .. } => {}
            Instr::MoveXX { from, to } => self.copy(at, Src::x(from), Dst::x(to)),
            Instr::MoveXY { from, to } => self.copy(at, Src::x(from), Dst::y(to)),
            Instr::MoveYX { from, to } => self.copy(at, Src::y(from), Dst::x(to)),
            Instr::MoveKX { to, value } => self.write_word(Dst::x(to), value.raw()),
            Instr::Move { src, dst } => self.copy(at, src, dst),
            Instr::MoveXX2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::x(from1), Dst::x(to1));
                self.copy(at, Src::x(from2), Dst::x(to2));
            }
            Instr::MoveXY2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::x(from1), Dst::y(to1));
                self.copy(at, Src::x(from2), Dst::y(to2));
            }
            Instr::MoveYX2 { from1, to1, from2, to2 } => {
                self.copy(at, Src::y(from1), Dst::x(to1));
                self.copy(at, Src::y(from2), Dst::x(to2));
            }
            Instr::Swap { a, b } => {
                self.read_into(at, a.as_src(), R10);
                self.read_into(at, b.as_src(), R11);
                self.write(a, R11);
                self.write(b, R10);
            }
            Instr::InitY { registers } => {
                registers.iter().for_each(|&y| self.write_word(Dst::y(y), nil));
            }
            Instr::Allocate { frame, heap, .. } => self.allocate(at, frame, heap),
            Instr::Deallocate { frame } | Instr::Trim { words: frame } => self.pop_frame(frame),
            Instr::TestHeap { words, .. } => self.test_heap(at, words),
            Instr::Catch { y, handler } => {
                let handler = self.span.address(at.wrapping_add_signed(handler));
                self.write_word(Dst::y(y), Term::catch_mark(handler).raw());
            }
            Instr::TryEnd { y } => self.write_word(Dst::y(y), nil),
            Instr::CatchEnd { y } => {
                // `NONE` in X[0]: an exception has led here, which the interpreter handles.
                let other = self.exit(at);
                self.compare_word(PASSED[0], Term::NONE.raw());
                dynasm!(self.ops ; .arch x64 ; je =>other);
                self.write_word(Dst::y(y), nil);
            }
            _ => return false,
        }
        true
    }

    /// Whether it was one that goes elsewhere.
    fn transfers(&mut self, at: u32, instr: Instr) -> bool {
        match instr {
            Instr::Call { target, .. } => {
                self.push_return(at);
                self.call_local(at, target);
            }
            Instr::CallLast { frame, target, .. } => {
                self.pop_frame(frame);
                self.call_local(at, target);
            }
            Instr::CallOnly { target, .. } => self.call_local(at, target),
            Instr::CallExt { export, .. } => {
                self.push_return(at);
                self.call_export(export);
            }
            Instr::CallExtLast { frame, export, .. } => {
                self.pop_frame(frame);
                self.call_export(export);
            }
            Instr::CallExtOnly { export, .. } => self.call_export(export),
            // The interpreter calls it by its name.
            Instr::CallBif { bif, .. }
            | Instr::CallBifLast { bif, .. }
            | Instr::CallBifOnly { bif, .. }
                if self.bifs.has_breakpoint(bif) =>
            {
                return false;
            }
            Instr::CallBif { bif, arity } => self.call_bif(at, bif, arity),
            Instr::CallBifLast { bif, arity, frame } => self.call_bif_last(at, bif, arity, frame),
            Instr::CallBifOnly { bif, arity } | Instr::BifBody { bif, arity, .. } => {
                self.call_bif_last(at, bif, arity, 0);
            }
            Instr::NativeBody { slot, .. } => self.native_body(at, slot.0),
            Instr::CallFun { arity } => self.call_fun(at, Src::x(arity), arity, None),
            Instr::CallFun2 { arity, fun } => self.call_fun(at, fun, arity, None),
            Instr::CallFunLast { arity, frame, fun } => self.call_fun(at, fun, arity, Some(frame)),
            Instr::Apply { arity } => self.apply(at, arity, None),
            Instr::ApplyLast { arity, frame } => self.apply(at, arity, Some(frame)),
            Instr::Return => self.return_to_caller(),
            Instr::EndTurn { .. } => self.end_turn(at),
            Instr::Jump { target } => {
                let target = self.target(at, target);
                dynasm!(self.ops ; .arch x64 ; jmp =>target);
            }
            Instr::SelectVal { src, select } => self.select(at, src, table(&select)),
            Instr::SelectArity { src, select } => self.select_arity(at, src, table(&select)),
            Instr::Send => self.send(at),
            Instr::LoopRec { .. } => self.loop_rec(at),
            Instr::LoopRecEnd { target } => self.loop_rec_end(at, target),
            Instr::RemoveMessage => self.remove_message(at),
            Instr::RecvMarkerReserve { dst } => self.reserve_marker(at, dst),
            Instr::RecvMarkerBind { marker, reference } => {
                self.with_words(at, self.assists.bind_marker as usize, marker, Some(reference));
            }
            Instr::RecvMarkerClear { reference } => {
                self.with_words(at, self.assists.clear_marker as usize, reference, None);
            }
            Instr::RecvMarkerUse { reference } => {
                self.with_words(at, self.assists.use_marker as usize, reference, None);
            }
            _ => return false,
        }
        true
    }

    /// Whether it was a test.
    fn tests(&mut self, at: u32, instr: Instr) -> bool {
        const BIG: &[Subtag] = &[Subtag::BigPos, Subtag::BigNeg];
        let x = Src::x;
        match instr {
            Instr::IsInteger { src, fail } => self.test_number(at, src, fail, 0b11, 0b11, BIG),
            Instr::IsFloat { src, fail } => {
                self.test_number(at, src, fail, 0b11, 0b10, &[Subtag::Float]);
            }
            // Small integers and floats in words have the higher tag bit.
            Instr::IsNumber { src, fail } => self.test_number(
                at,
                src,
                fail,
                0b10,
                0b10,
                &[Subtag::BigPos, Subtag::BigNeg, Subtag::Float],
            ),
            Instr::IsAtom { src, fail } => self.test_tag(at, src, fail, 0b11_1111, 0b00_0001),
            Instr::IsPid { src, fail } => {
                self.is_address(at, src, fail, Term::pid(0), Subtag::ExternalPid);
            }
            Instr::IsPort { src, fail } => {
                self.is_address(at, src, fail, Term::port(0), Subtag::ExternalPort);
            }
            Instr::IsReference { src, fail } => {
                self.test_subtag(at, src, fail, &[Subtag::Ref, Subtag::ExternalRef]);
            }
            Instr::IsNil { src, fail } => self.test_word(at, src, Term::NIL.raw(), fail, true),
            Instr::IsNilX { x: number, fail } => {
                self.test_word(at, x(number), Term::NIL.raw(), fail, true);
            }
            Instr::IsBinary { src, fail } => self.is_binary(at, src, fail),
            Instr::IsBitstring { src, fail } => {
                let subtags =
                    [Subtag::HeapBin, Subtag::SharedBin, Subtag::SubBin, Subtag::MatchContext];
                self.test_subtag(at, src, fail, &subtags);
            }
            Instr::IsList { src, fail } => self.is_list(at, src, fail),
            Instr::IsCons { src, fail } => self.is_cons(at, src, fail),
            Instr::IsConsX { x: number, fail } => self.is_cons(at, x(number), fail),
            Instr::IsConsGetListX { x: number, head, tail, fail } => {
                self.is_cons_get_list(at, x(number), head, tail, fail);
            }
            Instr::IsTuple { src, fail } => self.is_tuple(at, src, fail),
            Instr::IsTupleOf { src, arity, fail } | Instr::TestArity { src, arity, fail } => {
                self.test_arity(at, src, arity, fail);
            }
            Instr::IsTaggedTuple { src, arity, tag, fail } if arity > 0 => {
                let tuple = self.test_arity(at, src, arity.into(), fail);
                self.test_first(at, tuple, tag, fail);
            }
            Instr::IsTagged { src, tag, fail } => {
                let tuple = self.read(at, src, R10);
                self.test_first(at, tuple, tag, fail);
            }
            Instr::IsMap { src, fail } => self.is_map(at, src, fail),
            Instr::IsBoolean { src, fail } => self.is_boolean(at, src, fail),
            Instr::IsFunction { src, fail } => {
                self.test_subtag(at, src, fail, &[Subtag::Fun, Subtag::ExportFun]);
            }
            Instr::IsFunctionOf { src, arity, .. } => {
                match self.small_constant(at, arity).map(u8::try_from) {
                    Some(Ok(arity)) => self.is_function_of(at, src, arity),
                    _ => return false,
                }
            }
            Instr::IsLt { a, b, fail } => self.compare(at, a, b, fail, true),
            Instr::IsGe { a, b, fail } => self.compare(at, a, b, fail, false),
            Instr::IsLtXI { x: number, value, fail } => {
                self.compare(at, x(number), Src::small(value), fail, true);
            }
            Instr::IsGeXI { x: number, value, fail } => {
                self.compare(at, x(number), Src::small(value), fail, false);
            }
            Instr::IsEq { a, b, fail } => self.equality(at, a, b, fail, false, true),
            Instr::IsNe { a, b, fail } => self.equality(at, a, b, fail, false, false),
            Instr::IsEqExact { a, b, fail } => self.equality(at, a, b, fail, true, true),
            Instr::IsNeExact { a, b, fail } => self.equality(at, a, b, fail, true, false),
            Instr::IsEqImmX { x: number, fail, value } => {
                self.test_word(at, x(number), value.raw(), fail, true);
            }
            Instr::IsNeImmX { x: number, fail, value } => {
                self.test_word(at, x(number), value.raw(), fail, false);
            }
            _ => return false,
        }
        true
    }

    /// Whether it was one that takes terms apart or makes them.
    fn data_instruction(&mut self, at: u32, instr: Instr) -> bool {
        match instr {
            Instr::GetList { src, head, tail } => self.get_list(at, src, head, tail),
            Instr::GetHead { src, dst } => self.get_part(at, src, layout::HEAD, dst),
            Instr::GetTail { src, dst } => self.get_part(at, src, layout::TAIL, dst),
            Instr::GetElement { src, index, dst } => self.get_element(at, src, index, dst),
            Instr::GetElement2 { src, index, dst1, dst2 } => {
                self.get_elements(at, src, index, dst1, dst2);
            }
            Instr::PutList { head, tail, dst } => self.put_list(at, head, tail, dst),
            Instr::PutTuple { elements, dst } => self.put_tuple(at, &elements, dst),
            Instr::UpdateRecord { update, dst } => self.update_record(at, table(&update), dst),
            Instr::MakeFun { free, dst, .. } => self.make_fun(at, &free.1, dst),
            Instr::Element { a, b, dst } => self.element(at, a, b, dst),
            Instr::Hd { a, dst } => self.list_part(at, a, layout::HEAD, dst),
            Instr::Tl { a, dst } => self.list_part(at, a, layout::TAIL, dst),
            Instr::TupleSize { a, dst } => self.tuple_size(at, a, dst),
            Instr::Bif0 { bif, dst } => self.bif_value(at, bif, &[], dst),
            Instr::Bif1 { bif, a, dst } => self.bif_value(at, bif, &[a], dst),
            Instr::Bif2 { bif, a, b, dst } => self.bif_value(at, bif, &[a, b], dst),
            Instr::Bif3 { bif, args, dst } => self.bif_value(at, bif, &*args, dst),
            Instr::GetMap { get } => self.get_map(at, table(&get)),
            Instr::NewMap { keys, values, dst } => self.new_map(at, keys, &values, dst),
            Instr::PutMap { put, dst } => self.put_map(at, table(&put), dst),
            _ => return false,
        }
        true
    }

    /// Whether it was one of numbers or of bitstrings.
    fn rest(&mut self, at: u32, instr: Instr) -> bool {
        match instr {
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
            Instr::LoadFloat { src, to } => self.load_float(at, src, to),
            Instr::StoreFloat { from, dst } => self.store_float(at, from, dst),
            Instr::MoveFloat { from, to } => self.move_float(from, to),
            Instr::FloatAdd { a, b, to }
            | Instr::FloatSub { a, b, to }
            | Instr::FloatMul { a, b, to }
            | Instr::FloatDiv { a, b, to } => {
                self.float_operation(at, a, b, to);
            }
            Instr::BsStartMatch { src, dst, fail } => self.start_match(at, src, dst, fail),
            Instr::BsGetPosition { context, dst } => self.get_position(at, context, dst),
            Instr::BsSetPosition { context, position } => self.set_position(at, context, position),
            Instr::BsTestTail { bits, context, fail } => self.test_tail(at, context, bits, fail),
            Instr::BsTestUnit { unit, context, fail } if unit > 0 => {
                self.test_unit(at, context, unit, fail);
            }
            Instr::BsSkip { unit, context, size, fail } => self.skip(at, context, size, unit, fail),
            Instr::BsGetInteger { flags, unit, context, size, dst, fail } => {
                let bits = self.known_bits(at, size, unit);
                self.get_integer(at, flags, context, bits, dst, fail);
            }
            Instr::BsGetBinary { unit, context, size, dst, fail } => {
                self.get_binary(at, context, size, unit, dst, fail);
            }
            Instr::BsGetRest { unit, context, dst, fail } if unit > 0 => {
                self.get_rest(at, context, unit, dst, fail);
            }
            Instr::BsSkipRest { unit, context, fail } if unit > 0 => {
                self.skip_rest(at, context, unit, fail);
            }
            Instr::BsGetTail { context, dst } => self.get_tail(at, context, dst),
            Instr::BsMatch { plan } => self.bs_match(at, table(&plan)),
            Instr::BsCreateBin { plan } => self.create_binary(at, table(&plan)),
            _ => return false,
        }
        true
    }
}

/// The operands beside the code, which stay for as long as the module.
fn table<T>(table: &swarmrt_beam::instr::Table<T>) -> &T {
    table
}
