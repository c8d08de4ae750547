//! What machine code has done for it: parts of instructions, without the way through the
//! interpreter's loop.

use super::{binaries, bit_syntax, operations};
use crate::state::{NativeState, Registers, map_hint};
use swarmrt_beam::instr::Instr;
use swarmrt_machine::bif::BifFn;
use swarmrt_machine::code::natives::NativeSlot;
use swarmrt_machine::{Process, signal};
use swarmrt_term::{Alloc, Mfa, Term, map};

/// Executes the one instruction at an address, with the state in `Registers`, and returns the next;
/// null when the process gives up the scheduler.
pub type StepFn = unsafe extern "C-unwind" fn(*mut Registers, *const Instr) -> *const Instr;

/// The word of no term: what an assist returns for "not here, not so".
pub const NO_TERM: u64 = 0;
/// The bits of no float that a term can be.
pub const NO_FLOAT: u64 = u64::MAX;

/// What machine code has done for it. All but `step` do one part of an instruction, with the
/// operands given as words, while the rest of the state lies in the registers and is read again
/// afterwards. One that returns [`NO_TERM`] has left everything so that the instruction can be
/// stepped instead.
pub struct Assists {
    pub step: StepFn,
    /// The built-in called by the instruction, with its arguments in X registers. What is not a
    /// plain result is left to the step, which finds the result there and does not call again.
    pub call_bif: unsafe extern "C-unwind" fn(*mut Registers, *const Instr) -> u64,
    /// As `call_bif`, for a built-in that is not dirty: its [`BifFn`] and arity are given.
    ///
    /// [`BifFn`]: swarmrt_machine::bif::BifFn
    #[expect(improper_ctypes_definitions, reason = "an address, which Rust alone calls")]
    pub call_bif_function:
        unsafe extern "C-unwind" fn(*mut Registers, *const Instr, BifFn, u64) -> u64,
    /// The native body at the instruction, whose slot is filled, with its arguments in X registers;
    /// as `call_bif`.
    pub call_native: unsafe extern "C-unwind" fn(*mut Registers, *const Instr) -> u64,
    /// A built-in that yields a value: its number, and its arguments (address, count).
    pub bif: unsafe extern "C-unwind" fn(*mut Registers, u64, *const u64, u64) -> u64,
    /// The value of a key of a map.
    pub map_get: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    /// The values of several keys of a map: map, keys (address, count), whose places they take.
    pub map_get_all: unsafe extern "C-unwind" fn(*mut Registers, u64, *mut u64, u64) -> u64,
    /// As `map_get_all`, with the number of the first key's hint: the hints of a flat map are set.
    pub map_find: unsafe extern "C-unwind" fn(*mut Registers, u64, *mut u64, u64, u64) -> u64,
    /// The map that `PutMap` makes, from the values of its sources (map, then keys and values in
    /// turn).
    pub map_put: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, *const u64) -> u64,
    /// The binary that `BsCreateBin` makes, from the values of its sources in order.
    pub create_binary: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, *const u64) -> u64,
    /// A binary with the lowest bits of a word behind it: binary, word, bits.
    pub append_word: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// [`append_word`](Self::append_word) for the binary that a comprehension builds: the term
    /// itself becomes longer.
    pub append_own_word: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// A match context for a bitstring.
    pub start_match: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    /// A part of a bitstring that is no part itself: bitstring, position, bits.
    pub part: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// The next character of a match context, by the `BsGetUtf` at an address.
    pub get_utf: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, u64) -> u64,
    /// The next bits of a match context as an integer, with these flags.
    pub get_integer: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> u64,
    /// Sends: receiver, message. Returns the message.
    pub send: unsafe extern "C-unwind" fn(*mut Registers, u64, u64) -> u64,
    /// The message that the receive loop looks at.
    pub peek: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// The message after that one.
    pub peek_next: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// Reserves a receive marker; nothing where signals have to be handled first.
    pub reserve_marker: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// Binds a marker to a reference; forgets that of a reference; begins to receive at it.
    pub bind_marker: unsafe extern "C-unwind" fn(*mut Registers, u64, u64) -> u64,
    pub clear_marker: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    pub use_marker: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    /// Takes the message that was looked at out of the mailbox.
    pub take_message: unsafe extern "C-unwind" fn(*mut Registers) -> u64,
    /// The fun that `MakeFun` makes, from its free variables.
    pub make_fun: unsafe extern "C-unwind" fn(*mut Registers, *const Instr, *const u64) -> u64,
    /// The word of a float, given its bits.
    pub float: unsafe extern "C-unwind" fn(*mut Registers, u64) -> u64,
    /// Makes words of the floats that [`NativeState::x_floats`] and its like name.
    pub make_words: unsafe extern "C-unwind" fn(*mut Registers),
    /// Whether two terms are equal, `=:=` and `==`.
    pub equal_exact: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    pub equal: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    /// Which of two terms comes first, as [`Question::Order`](crate::code::Question) says it.
    pub order: unsafe extern "C-unwind" fn(u64, u64) -> i64,
    /// The bits of the float that a boxed term is, or [`NO_FLOAT`]. The second word says nothing.
    pub boxed_float: unsafe extern "C-unwind" fn(u64, u64) -> u64,
    /// Where a call of a function by name leads: module, function, arity.
    pub apply_target: unsafe extern "C-unwind" fn(*mut Registers, u64, u64, u64) -> *const Instr,
}

impl Assists {
    /// All of them, with the interpreter's way to execute an instruction.
    pub const fn with_step(step: StepFn) -> Assists {
        Assists {
            step,
            call_bif,
            call_bif_function,
            call_native,
            bif,
            map_get,
            map_get_all,
            map_find,
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
            order,
            boxed_float,
            apply_target,
        }
    }
}

const STRESS: bool = cfg!(feature = "stress");

// SAFETY, for all of this file: machine code calls these while it runs a process, with the
// scheduler's registers, its own state in them, and words that are terms. Nobody else holds the
// process or the registers meanwhile.

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

/// Hands the heap top back; what presses for a collection ends the turn of the machine code at its
/// next call.
fn allocated(p: &mut Process, state: &mut NativeState) {
    state.top = p.heap.top;
    if p.heap.wants_collection && state.reductions > 0 {
        state.deferred += state.reductions;
        state.reductions = 0;
    }
}

/// The word of what is made on the process's heap, if anything is.
unsafe fn made(registers: *mut Registers, make: impl FnOnce(&mut Process) -> Option<Term>) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        let term = make(p);
        allocated(p, state);
        term.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn call_bif(registers: *mut Registers, ip: *const Instr) -> u64 {
    // SAFETY: see above; the verifier has seen that the arguments are there.
    unsafe {
        let (p, _) = current(registers);
        let (Instr::CallBif { bif, arity }
        | Instr::CallBifLast { bif, arity, .. }
        | Instr::CallBifOnly { bif, arity }
        | Instr::BifBody { bif, arity, .. }) = *ip
        else {
            unreachable!("{:?} does not call a built-in", *ip)
        };
        let entry = p.vm.bifs.get(bif);
        if entry.kind.is_dirty() {
            return NO_TERM;
        }
        call_bif_function(registers, ip, entry.function, arity.into())
    }
}

#[expect(improper_ctypes_definitions, reason = "an address, which Rust alone calls")]
unsafe extern "C-unwind" fn call_bif_function(
    registers: *mut Registers,
    ip: *const Instr,
    function: BifFn,
    arity: u64,
) -> u64 {
    // SAFETY: see above; the verifier has seen that the arguments are there.
    unsafe {
        let (p, state) = current(registers);
        p.reductions = (state.reductions + state.deferred) as i32;
        p.ip = ip;
        let args =
            std::slice::from_raw_parts((&raw const (*registers).x).cast::<Term>(), arity as usize);
        let result = function(p, args);
        hand_over(p, state, result)
    }
}

/// What a call comes to for machine code: a plain result, or one that the step finds. The result is
/// that of a [`BifFn`](swarmrt_machine::bif::BifFn).
#[inline]
fn hand_over(p: &mut Process, state: &mut NativeState, result: Option<Term>) -> u64 {
    state.top = p.heap.top;
    state.stop = p.heap.stop;
    state.reductions = i64::from(p.reductions) - state.deferred;
    let Some(value) = result else { return NO_TERM };
    if STRESS || p.heap.wants_collection {
        p.result_at_hand = Some(Ok(value));
        return NO_TERM;
    }
    state.reductions -= 1;
    value.raw()
}

unsafe extern "C-unwind" fn call_native(registers: *mut Registers, ip: *const Instr) -> u64 {
    // SAFETY: see above; the instruction's module is there, and the verifier has seen that the
    // arguments are there.
    unsafe {
        let (p, state) = current(registers);
        let Instr::NativeBody { arity, slot } = *ip else {
            unreachable!("{:?} is no native body", *ip)
        };
        let native = NativeSlot::at(slot).get().expect("machine code has looked");
        if p.result_at_hand.is_some() || !native.may_be_called_directly(p) {
            return NO_TERM;
        }
        p.reductions = (state.reductions + state.deferred) as i32;
        p.ip = ip;
        let args = std::slice::from_raw_parts(
            (&raw const (*registers).x).cast::<Term>(),
            usize::from(arity),
        );
        let result = native.call_directly(p, args);
        hand_over(p, state, result)
    }
}

unsafe extern "C-unwind" fn bif(
    registers: *mut Registers,
    number: u64,
    args: *const u64,
    count: u64,
) -> u64 {
    // SAFETY: see above.
    unsafe {
        let (p, state) = current(registers);
        let args = std::slice::from_raw_parts(args.cast::<Term>(), count as usize);
        p.reductions = (state.reductions + state.deferred) as i32;
        let result = p.vm.bifs.get(number as u16).call(p, args);
        state.reductions = i64::from(p.reductions) - state.deferred;
        allocated(p, state);
        result.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn map_get(source: u64, key: u64) -> u64 {
    // SAFETY: see above.
    unsafe { map::get(term(source), term(key)).map_or(NO_TERM, Term::raw) }
}

unsafe extern "C-unwind" fn map_get_all(
    _: *mut Registers,
    source: u64,
    keys: *mut u64,
    count: u64,
) -> u64 {
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

unsafe extern "C-unwind" fn map_find(
    registers: *mut Registers,
    source: u64,
    keys: *mut u64,
    count: u64,
    first_hint: u64,
) -> u64 {
    // SAFETY: see above; the caller has seen that it is a map.
    unsafe {
        let Some(flat) = term(source).as_flat_map() else {
            return map_get_all(registers, source, keys, count);
        };
        let hints = &mut (*registers).native.map_hints;
        for (index, place) in
            std::slice::from_raw_parts_mut(keys, count as usize).iter_mut().enumerate()
        {
            let Some(position) = map::flat_position(flat, term(*place)) else { return NO_TERM };
            hints[map_hint(first_hint as usize, index)] = position as u8;
            *place = flat.values()[position].raw();
        }
        source
    }
}

unsafe extern "C-unwind" fn map_put(
    registers: *mut Registers,
    ip: *const Instr,
    values: *const u64,
) -> u64 {
    // SAFETY: see above; there are as many values as the instruction has sources.
    unsafe {
        let (p, state) = current(registers);
        let Instr::PutMap { put, .. } = *ip else { unreachable!("{:?} is no map update", *ip) };
        let source = term(*values);
        if !source.is_map() {
            return NO_TERM;
        }
        let pairs =
            std::slice::from_raw_parts(values.add(1).cast::<(Term, Term)>(), put.pairs.len());
        let made = if put.exact {
            map::update_all(&mut p.heap, source, pairs)
        } else {
            Some(map::put_all(&mut p.heap, source, pairs))
        };
        allocated(p, state);
        made.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn create_binary(
    registers: *mut Registers,
    ip: *const Instr,
    values: *const u64,
) -> u64 {
    // SAFETY: see above; there are as many values as the instruction has sources.
    unsafe {
        let (p, state) = current(registers);
        let Instr::BsCreateBin { plan } = *ip else { unreachable!("{:?} makes no binary", *ip) };
        p.reductions = (state.reductions + state.deferred) as i32;
        let made = binaries::create(p, &plan, (0..).map(|at| term(*values.add(at))));
        state.reductions = i64::from(p.reductions) - state.deferred;
        allocated(p, state);
        made.map_or(NO_TERM, Term::raw)
    }
}

unsafe extern "C-unwind" fn append_own_word(
    registers: *mut Registers,
    source: u64,
    word: u64,
    bits: u64,
) -> u64 {
    // SAFETY: see above.
    unsafe { made(registers, |p| binaries::append_own_word(p, term(source), word, bits as usize)) }
}

unsafe extern "C-unwind" fn append_word(
    registers: *mut Registers,
    source: u64,
    word: u64,
    bits: u64,
) -> u64 {
    // SAFETY: see above.
    unsafe { made(registers, |p| binaries::append_word(p, term(source), word, bits as usize)) }
}

unsafe extern "C-unwind" fn start_match(registers: *mut Registers, source: u64) -> u64 {
    // SAFETY: see above.
    unsafe { made(registers, |p| binaries::start_match(p, term(source))) }
}

unsafe extern "C-unwind" fn part(
    registers: *mut Registers,
    original: u64,
    offset: u64,
    bits: u64,
) -> u64 {
    // SAFETY: see above; the caller has seen that there are so many bits.
    unsafe {
        let (p, state) = current(registers);
        let part = p.heap.part(term(original), offset as usize, bits as usize);
        allocated(p, state);
        part.raw()
    }
}

unsafe extern "C-unwind" fn get_utf(_: *mut Registers, ip: *const Instr, context: u64) -> u64 {
    // SAFETY: see above.
    unsafe {
        let Instr::BsGetUtf { utf, flags, .. } = *ip else {
            unreachable!("{:?} reads no character", *ip)
        };
        let Some(context) = term(context).as_match_context() else { return NO_TERM };
        match bit_syntax::read_utf(utf, bit_syntax::remaining(context), flags) {
            Some((code, bits)) => {
                context.set_offset(context.offset() + bits);
                Term::small(i64::from(code)).raw()
            }
            None => NO_TERM,
        }
    }
}

unsafe extern "C-unwind" fn get_integer(
    registers: *mut Registers,
    context: u64,
    bits: u64,
    flags: u64,
) -> u64 {
    // SAFETY: see above; the caller has seen that there are so many bits.
    unsafe {
        let (p, state) = current(registers);
        let Some(context) = term(context).as_match_context() else { return NO_TERM };
        let value = binaries::take_integer(p, context, bits as usize, flags as u8);
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
            Some(pid) if !p.trace.is_on() && p.sequential.is_none() => {
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
    unsafe {
        let p = &mut *(*registers).native.process;
        let mut message = p.mailbox.receive_peek();
        if message.is_none() && p.take_messages() {
            message = p.mailbox.receive_peek();
        }
        message.map_or(NO_TERM, Term::raw)
    }
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

unsafe extern "C-unwind" fn bind_marker(
    registers: *mut Registers,
    marker: u64,
    reference: u64,
) -> u64 {
    // SAFETY: see above.
    unsafe {
        operations::bind_marker(&mut *(*registers).native.process, term(marker), term(reference));
    };
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

unsafe extern "C-unwind" fn make_fun(
    registers: *mut Registers,
    ip: *const Instr,
    free: *const u64,
) -> u64 {
    // SAFETY: see above; there are as many values as the instruction has sources.
    unsafe {
        let (p, state) = current(registers);
        let Instr::MakeFun { arity, free: shape, .. } = *ip else {
            unreachable!("{:?} makes no fun", *ip)
        };
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

unsafe extern "C-unwind" fn order(a: u64, b: u64) -> i64 {
    // SAFETY: see above.
    unsafe { operations::order(term(a), term(b)) as i64 }
}

unsafe extern "C-unwind" fn boxed_float(word: u64, _: u64) -> u64 {
    // SAFETY: see above.
    unsafe { term(word) }.as_float().map_or(NO_FLOAT, f64::to_bits)
}

unsafe extern "C-unwind" fn apply_target(
    registers: *mut Registers,
    module: u64,
    function: u64,
    arity: u64,
) -> *const Instr {
    // SAFETY: see above.
    unsafe {
        let (Some(module), Some(function)) = (term(module).as_atom(), term(function).as_atom())
        else {
            return std::ptr::null();
        };
        let mfa = Mfa { module, function, arity: arity as u32 };
        if operations::shows_its_caller(mfa) {
            return std::ptr::null();
        }
        (*(*registers).native.process).vm.code.export(mfa).entry()
    }
}
