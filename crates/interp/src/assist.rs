//! What machine code has done for it: parts of instructions, without the way through the main loop. See [`Assists`].

use crate::binary;
use crate::operations;
use std::cell::Cell;
use swarmrt_beam::instr::{Instr, Src};
use swarmrt_machine::bif::BifKind;
use swarmrt_machine::code::natives::NativeSlot;
use swarmrt_machine::native::{Assists, NO_FLOAT, NO_TERM, NativeState};
use swarmrt_machine::scheduler::Registers;
use swarmrt_machine::{BifResult, Process, bitsyntax, signal};
use swarmrt_term::{Alloc, Mfa, Term, map};

const STRESS: bool = cfg!(feature = "stress");

pub static ASSISTS: Assists = Assists {
    step: crate::run::step,
    call_bif,
    call_native,
    bif,
    map_get,
    map_get_all,
    map_put,
    create_binary,
    append_word,
    append_own_word,
    start_match,
    part,
    get_utf,
    get_integer,
    send,
    peek,
    peek_next,
    reserve_marker,
    bind_marker,
    clear_marker,
    use_marker,
    take_message,
    make_fun,
    float,
    make_words,
    equal_exact,
    equal,
    less,
    boxed_float,
    apply_target,
};

// SAFETY, for all of this file: machine code calls these while it runs a process, with the scheduler's registers, its
// own state in them, and words that are terms. Nobody else holds the process or the registers meanwhile.

/// The process with its heap pointers current, and the state that machine code reads afterwards.
unsafe fn current<'a>(registers: *mut Registers) -> (&'a mut Process, &'a mut NativeState) {
    // SAFETY: see above.
    unsafe {
        let state = &mut (*registers).native;
        let p = &mut *state.process;
        p.heap.top = state.top;
        p.heap.stop = state.stop;
        (p, state)
    }
}

unsafe fn term(word: u64) -> Term {
    // SAFETY: see above.
    unsafe { Term::from_raw(word) }
}

/// Hands the heap top back; what presses for a collection ends the turn of the machine code at its next call.
fn allocated(p: &mut Process, state: &mut NativeState) {
    state.top = p.heap.top;
    if p.heap.wants_collection && state.reductions > 0 {
        state.deferred += state.reductions;
        state.reductions = 0;
    }
}

unsafe extern "C-unwind" fn call_bif(registers: *mut Registers, ip: *const Instr) -> u64 {
    // SAFETY: see above; the verifier has seen that the arguments are there.
    unsafe {
        let (p, state) = current(registers);
        let (Instr::CallBif { bif, arity } | Instr::CallBifLast { bif, arity, .. } | Instr::CallBifOnly { bif, arity } | Instr::BifBody { bif, arity, .. }) =
            *ip
        else {
            unreachable!("{:?} does not call a built-in", *ip)
        };
        let entry = p.vm.bifs.get(bif);
        if matches!(entry.kind, BifKind::DirtyIo | BifKind::DirtyCpu) {
            return NO_TERM;
        }
        p.reductions = (state.reductions + state.deferred) as i32;
        p.ip = ip;
        let args = std::slice::from_raw_parts((&raw const (*registers).x).cast::<Term>(), usize::from(arity));
        let result = (entry.function)(p, args);
        hand_over(p, state, result)
    }
}

/// What a call comes to for machine code: a plain result, or one that the step finds.
fn hand_over(p: &mut Process, state: &mut NativeState, result: BifResult) -> u64 {
    state.top = p.heap.top;
    state.stop = p.heap.stop;
    state.reductions = i64::from(p.reductions) - state.deferred;
    match result {
        Ok(value) if !STRESS && !p.heap.wants_collection => {
            state.reductions -= 1;
            value.raw()
        }
        result => {
            p.result_at_hand = Some(result);
            NO_TERM
        }
    }
}

unsafe extern "C-unwind" fn call_native(registers: *mut Registers, ip: *const Instr) -> u64 {
    // SAFETY: see above; the instruction's module is there, and the verifier has seen that the arguments are there.
    unsafe {
        let (p, state) = current(registers);
        let Instr::NativeBody { arity, slot } = *ip else { unreachable!("{:?} is no native body", *ip) };
        let native = NativeSlot::at(slot).get().expect("machine code has looked");
        if p.result_at_hand.is_some() || native.is_dirty(p) {
            return NO_TERM;
        }
        p.reductions = (state.reductions + state.deferred) as i32;
        p.ip = ip;
        let args = std::slice::from_raw_parts((&raw const (*registers).x).cast::<Term>(), usize::from(arity));
        let result = native.call(p, args);
        hand_over(p, state, result)
    }
}

unsafe extern "C-unwind" fn bif(registers: *mut Registers, number: u64, args: *const u64, count: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        let args = std::slice::from_raw_parts(args.cast::<Term>(), count as usize);
        let result = (p.vm.bifs.get(number as u16).function)(p, args);
        allocated(p, state);
        result.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn map_get(source: u64, key: u64) -> u64 {
    // SAFETY: see above.
    unsafe { map::get(term(source), term(key)).map_or(NO_TERM, Term::raw) }
}

unsafe extern "C-unwind" fn map_get_all(_: *mut Registers, source: u64, keys: *mut u64, count: u64) -> u64 {
    // SAFETY: see above; the caller has seen that it is a map.
    unsafe {
        for place in std::slice::from_raw_parts_mut(keys, count as usize) {
            match map::get(term(source), term(*place)) {
                Some(value) => *place = value.raw(),
                None => return NO_TERM,
            }
        }
        source
    }
}

unsafe extern "C-unwind" fn map_put(registers: *mut Registers, ip: *const Instr, values: *const u64) -> u64 {
    // SAFETY: see above; there are as many values as the instruction has sources.
    unsafe {
        let (p, state) = current(registers);
        let Instr::PutMap { put, .. } = *ip else { unreachable!("{:?} is no map update", *ip) };
        let source = term(*values);
        if !source.is_map() {
            return NO_TERM;
        }
        let pairs = std::slice::from_raw_parts(values.add(1).cast::<(Term, Term)>(), put.pairs.len());
        let made = if put.exact { map::update_all(&mut p.heap, source, pairs) } else { Some(map::put_all(&mut p.heap, source, pairs)) };
        allocated(p, state);
        made.map_or(NO_TERM, Term::raw)
    }
}

/// Gives the values out in the order in which they are asked for.
unsafe fn in_order(values: *const u64) -> impl Fn(Src) -> Term {
    let next = Cell::new(values);
    move |_| {
        let at = next.get();
        // SAFETY: there are as many values as will be asked for.
        unsafe {
            next.set(at.add(1));
            term(*at)
        }
    }
}

unsafe extern "C-unwind" fn create_binary(registers: *mut Registers, ip: *const Instr, values: *const u64) -> u64 {
    // SAFETY: see above; there are as many values as the instruction has sources.
    unsafe {
        let (p, state) = current(registers);
        let Instr::BsCreateBin { plan } = *ip else { unreachable!("{:?} makes no binary", *ip) };
        p.reductions = (state.reductions + state.deferred) as i32;
        let made = binary::create(p, &plan, in_order(values));
        state.reductions = i64::from(p.reductions) - state.deferred;
        allocated(p, state);
        made.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn append_own_word(registers: *mut Registers, source: u64, word: u64, bits: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        let longer = binary::append_own_word(p, term(source), word, bits as usize);
        allocated(p, state);
        longer.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn append_word(registers: *mut Registers, source: u64, word: u64, bits: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        let longer = binary::append_word(p, term(source), word, bits as usize);
        allocated(p, state);
        longer.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn start_match(registers: *mut Registers, source: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        let context = binary::start_match(p, term(source));
        allocated(p, state);
        context.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn part(registers: *mut Registers, original: u64, offset: u64, bits: u64) -> u64 {
    // SAFETY: see above; the caller has seen that there are so many bits.
    unsafe {
        let (p, state) = current(registers);
        let part = p.heap.sub_binary(term(original), offset as usize, bits as usize);
        allocated(p, state);
        part.raw()
    }
}

unsafe extern "C-unwind" fn get_utf(_: *mut Registers, ip: *const Instr, context: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let Instr::BsGetUtf { utf, flags, .. } = *ip else { unreachable!("{:?} reads no character", *ip) };
        let Some(context) = term(context).as_match_context() else { return NO_TERM };
        match bitsyntax::read_utf(utf, bitsyntax::remaining(context), flags) {
            Some((code, bits)) => {
                context.set_offset(context.offset() + bits);
                Term::small(i64::from(code)).raw()
            }
            None => NO_TERM,
        }
    }
}

unsafe extern "C-unwind" fn get_integer(registers: *mut Registers, context: u64, bits: u64, flags: u64) -> u64 {
    // SAFETY: see above; the caller has seen that there are so many bits.
    unsafe {
        let (p, state) = current(registers);
        let Some(context) = term(context).as_match_context() else { return NO_TERM };
        let value = binary::take_integer(p, context, bits as usize, flags as u8);
        allocated(p, state);
        // Without one the interpreter does it again, and finds no match.
        value.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn send(registers: *mut Registers, to: u64, message: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        let (to, message) = (term(to), term(message));
        match to.as_pid() {
            Some(pid) if p.trace.flags == 0 && p.sequential.is_none() => {
                signal::send_message(p.vm, p.pid(), pid, message);
                state.reductions -= 4;
                message.raw()
            }
            _ => NO_TERM,
        }
    }
}

unsafe extern "C-unwind" fn peek(registers: *mut Registers) -> u64 {
    // SAFETY: see above.
    unsafe { (*(*registers).native.process).mailbox.receive_peek().map_or(NO_TERM, Term::raw) }
}

unsafe extern "C-unwind" fn peek_next(registers: *mut Registers) -> u64 {
    // SAFETY: see above.
    unsafe {
        let mailbox = &mut (*(*registers).native.process).mailbox;
        mailbox.advance();
        mailbox.receive_peek().map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn reserve_marker(registers: *mut Registers) -> u64 {
    // SAFETY: see above.
    unsafe {
        let p = &mut *(*registers).native.process;
        if p.has_incoming() {
            return NO_TERM;
        }
        operations::reserve_marker(p).raw()
    }
}

unsafe extern "C-unwind" fn bind_marker(registers: *mut Registers, marker: u64, reference: u64) -> u64 {
    // SAFETY: see above.
    unsafe { operations::bind_marker(&mut *(*registers).native.process, term(marker), term(reference)) };
    NO_TERM
}

unsafe extern "C-unwind" fn clear_marker(registers: *mut Registers, reference: u64) -> u64 {
    // SAFETY: see above.
    unsafe { operations::clear_marker(&mut *(*registers).native.process, term(reference)) };
    NO_TERM
}

unsafe extern "C-unwind" fn use_marker(registers: *mut Registers, reference: u64) -> u64 {
    // SAFETY: see above.
    unsafe { operations::use_marker(&mut *(*registers).native.process, term(reference)) };
    NO_TERM
}

unsafe extern "C-unwind" fn take_message(registers: *mut Registers) -> u64 {
    // SAFETY: see above; the receive loop has looked at a message.
    unsafe {
        let (p, state) = current(registers);
        let taken = p.take_message();
        allocated(p, state);
        if taken { Term::NIL.raw() } else { NO_TERM }
    }
}

unsafe extern "C-unwind" fn make_fun(registers: *mut Registers, ip: *const Instr, free: *const u64) -> u64 {
    // SAFETY: see above; there are as many values as the instruction has sources.
    unsafe {
        let (p, state) = current(registers);
        let Instr::MakeFun { arity, free: shape, .. } = *ip else { unreachable!("{:?} makes no fun", *ip) };
        let (entry, sources) = &*shape;
        let free = std::slice::from_raw_parts(free.cast::<Term>(), sources.len());
        let fun = operations::make_fun(p, *entry, arity, free.iter().copied());
        allocated(p, state);
        fun.raw()
    }
}

unsafe extern "C-unwind" fn float(registers: *mut Registers, bits: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        // Its room was asked for long ago, perhaps, and what is left may be another's.
        let float = p.heap.aside().float(f64::from_bits(bits));
        allocated(p, state);
        float.raw()
    }
}

unsafe extern "C-unwind" fn make_words(registers: *mut Registers) {
    // SAFETY: see above; machine code has written the bits of floats where the sets say.
    unsafe {
        let (p, state) = current(registers);
        let (x, top) = ((&raw mut (*registers).x).cast::<u64>(), state.top);
        let mut make = |set: &mut u64, place: &dyn Fn(usize) -> *mut u64| {
            let mut left = std::mem::take(set);
            while left != 0 {
                let place = place(left.trailing_zeros() as usize);
                *place = p.heap.aside().float(f64::from_bits(*place)).raw();
                left &= left - 1;
            }
        };
        make(&mut state.x_floats, &|number| x.add(number));
        make(&mut state.y_floats, &|number| state.stop.add(number));
        make(&mut state.heap_floats, &|number| top.sub(number + 1));
        allocated(p, state);
    }
}

unsafe extern "C-unwind" fn equal_exact(a: u64, b: u64) -> u64 {
    // SAFETY: see above.
    unsafe { u64::from(operations::equal_exact(term(a), term(b))) }
}

unsafe extern "C-unwind" fn equal(a: u64, b: u64) -> u64 {
    // SAFETY: see above.
    unsafe { u64::from(operations::equal(term(a), term(b))) }
}

unsafe extern "C-unwind" fn less(a: u64, b: u64) -> u64 {
    // SAFETY: see above.
    unsafe { u64::from(operations::less(term(a), term(b))) }
}

unsafe extern "C-unwind" fn boxed_float(word: u64, _: u64) -> u64 {
    // SAFETY: see above.
    unsafe { term(word) }.as_float().map_or(NO_FLOAT, f64::to_bits)
}

unsafe extern "C-unwind" fn apply_target(registers: *mut Registers, module: u64, function: u64, arity: u64) -> *const Instr {
    // SAFETY: see above.
    unsafe {
        let (Some(module), Some(function)) = (term(module).as_atom(), term(function).as_atom()) else { return std::ptr::null() };
        let mfa = Mfa { module, function, arity: arity as u32 };
        if operations::shows_its_caller(mfa) {
            return std::ptr::null();
        }
        (*(*registers).native.process).vm.code.export(mfa).entry()
    }
}
