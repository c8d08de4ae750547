//! What drivers send: bytes to the port's owner, and terms to anybody.

use super::entry::{DriverVector, Handle};
use super::port::{LoadedPort, open_port};
use super::queues::DriverBinary;
use crate::abi::{CArray, CText};
use crate::env::vm;
use std::ffi::{c_int, c_ulong};
use swarmrt_io::port::Port;
use swarmrt_machine::{Vm, pin, signal};
use swarmrt_term::etf::{self, DecodeOptions};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, am, map};

/// Sends `{Port, Message}` to a port's owner.
pub fn tell_owner(vm: &'static Vm, port: &Port, build: impl FnOnce(&mut FragmentHeap) -> Term) {
    let _guard = pin();
    let mut heap = FragmentHeap::new();
    let inner = build(&mut heap);
    let message = heap.tuple(&[port.term, inner]);
    let owner = port.owner();
    vm.trace_port_sends(port.term, owner, message);
    signal::send_message(vm, port.term, owner, message);
}

/// Sends bytes to the owner: those of the head always as a list.
fn output(
    handle: Handle,
    head: &[u8],
    binary: impl FnOnce(&mut FragmentHeap) -> Term,
    bytes: usize,
) -> c_int {
    let Some(driver) = open_port(handle) else { return -1 };
    // One that is closed tells nobody any more.
    if !driver.is_open() {
        return 0;
    }
    let Some(port) = driver.shell() else { return -1 };
    port.note_input(vm(), head.len() + bytes);
    tell_owner(vm(), &port, |heap| {
        let data = if port.options.binary {
            let rest = binary(heap);
            heap.byte_list(head, rest)
        } else {
            let rest = binary(heap);
            let rest = rest.as_bits().map(|bits| bits.to_bytes().into_owned()).unwrap_or_default();
            let rest = heap.byte_list(&rest, Term::NIL);
            heap.byte_list(head, rest)
        };
        heap.tuple(&[Term::atom(am::DATA), data])
    });
    0
}

/// Sends bytes to the port's owner, as a list or a binary; 0, or -1 where there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_output(handle: Handle, bytes: CArray<u8>, count: usize) -> c_int {
    output(handle, &[], |heap| heap.binary(bytes.of(count)), count)
}
/// As [`driver_output`], with a head that is always a list.
#[unsafe(no_mangle)]
pub extern "C" fn driver_output2(
    handle: Handle,
    head: CArray<u8>,
    head_count: usize,
    bytes: CArray<u8>,
    count: usize,
) -> c_int {
    // No address is no binary either, not even an empty one.
    let rest = |heap: &mut FragmentHeap| {
        if bytes.is_null() { Term::NIL } else { heap.binary(bytes.of(count)) }
    };
    output(handle, head.of(head_count), rest, count)
}
/// As [`driver_output2`], with a part of a binary that is shared with the message.
///
/// # Safety
/// `binary` is there and has the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_output_binary(
    handle: Handle,
    head: CArray<u8>,
    head_count: usize,
    binary: *mut DriverBinary,
    offset: usize,
    count: usize,
) -> c_int {
    // SAFETY: the caller's.
    output(handle, head.of(head_count), |heap| unsafe { part(heap, binary, offset, count) }, count)
}

/// # Safety
/// `binary` is there and has the bytes.
unsafe fn part(
    heap: &mut FragmentHeap,
    binary: *mut DriverBinary,
    offset: usize,
    count: usize,
) -> Term {
    // SAFETY: the caller's; bytes that were sent are not written any more.
    unsafe {
        heap.shared_bin_of(
            DriverBinary::hold(binary),
            DriverBinary::bytes(binary).wrapping_add(offset),
            count * 8,
        )
    }
}

/// As [`driver_output2`], with the bytes of a vector without the first `skip`.
///
/// # Safety
/// The vector is as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn driver_outputv(
    handle: Handle,
    head: CArray<u8>,
    head_count: usize,
    vector: *const DriverVector,
    skip: usize,
) -> c_int {
    let mut bytes = Vec::new();
    // SAFETY: the caller's.
    unsafe {
        for at in 0..usize::try_from((*vector).count).unwrap_or(0) {
            let slice = *(*vector).slices.add(at);
            bytes.extend_from_slice(bytes_at(slice.base, slice.length));
        }
    }
    let bytes = bytes.get(skip..).unwrap_or_default();
    let rest = |heap: &mut FragmentHeap| {
        if bytes.is_empty() { Term::NIL } else { heap.binary(bytes) }
    };
    output(handle, head.of(head_count), rest, bytes.len())
}

// ---- Terms ----

/// The atom of a name in Latin-1; nil where it is too long or the table is full.
#[unsafe(no_mangle)]
pub extern "C" fn driver_mk_atom(name: CText) -> Term {
    atom_of(name).map_or(Term::NIL, Term::atom)
}

/// The atom of a name in Latin-1; `None` where it is too long, or there are too many atoms.
pub(super) fn atom_of(name: CText) -> Option<Atom> {
    let name: String = name.bytes().iter().map(|&byte| char::from(byte)).collect();
    Atom::try_new(&name).ok()
}

/// The port as a term; nil where there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_mk_port(handle: Handle) -> Term {
    open_port(handle).map_or(Term::NIL, |port| Term::port(port.number()))
}
/// The empty list.
#[unsafe(no_mangle)]
pub extern "C" fn driver_mk_term_nil() -> Term {
    Term::NIL
}
/// The empty list, for drivers that were built when it was a variable.
#[unsafe(no_mangle)]
pub static driver_term_nil: Term = Term::NIL;

/// The owner's pid; nil where there is no such port.
#[unsafe(no_mangle)]
pub extern "C" fn driver_connected(handle: Handle) -> Term {
    open_port(handle)
        .and_then(|driver| driver.shell())
        .map_or(Term::NIL, |port| Term::pid(port.owner()))
}
/// The pid of the process for which a callback is called; nil where it is for none.
#[unsafe(no_mangle)]
pub extern "C" fn driver_caller(handle: Handle) -> Term {
    open_port(handle).and_then(|driver| driver.caller()).map_or(Term::NIL, Term::pid)
}

/// Builds the term that a list of words describes: each kind of term takes its parts from those
/// built before. `None` where the words are no such description.
///
/// # Safety
/// What the words point at is there.
unsafe fn build(heap: &mut FragmentHeap, words: &[u64]) -> Option<Term> {
    let mut built: Vec<Term> = Vec::new();
    let mut words = words.iter().copied();
    while let Some(kind) = words.next() {
        let mut word = || words.next();
        // SAFETY: the caller's.
        let term = unsafe {
            match kind {
                1 => Term::NIL,
                2 => Some(Term::from_raw(word()?)).filter(|term| term.is_atom())?,
                3 => heap.int(word()? as i64),
                4 => Some(Term::from_raw(word()?)).filter(|term| term.is_port())?,
                10 => Some(Term::from_raw(word()?)).filter(|term| term.is_pid())?,
                5 => {
                    let (binary, size, offset) =
                        (word()? as *mut DriverBinary, word()? as usize, word()? as usize);
                    if binary.is_null() {
                        heap.binary(&[])
                    } else if offset.checked_add(size)? <= (*binary).size as usize {
                        part(heap, binary, offset, size)
                    } else {
                        return None;
                    }
                }
                6 => {
                    let (text, size) = (word()? as *const u8, word()? as usize);
                    heap.byte_list(bytes_at(text, size), Term::NIL)
                }
                7 => {
                    let from = built.len().checked_sub(word()? as usize)?;
                    let tuple = heap.tuple(&built[from..]);
                    built.truncate(from);
                    tuple
                }
                8 => {
                    // The tail was built last.
                    let from = built.len().checked_sub(word()? as usize)?;
                    let tail = built.pop()?;
                    let list = heap.list_with_tail(built.get(from..)?, tail);
                    built.truncate(from);
                    list
                }
                9 => {
                    let (text, size, tail) = (word()? as *const u8, word()? as usize, built.pop()?);
                    heap.byte_list(bytes_at(text, size), tail)
                }
                11 => heap.float(*(word()? as *const f64)),
                12 => {
                    let (bytes, size) = (word()? as *const u8, word()? as usize);
                    etf::decode(
                        bytes_at(bytes, size),
                        heap,
                        &vm().code.term_resolver(),
                        DecodeOptions::default(),
                    )
                    .ok()?
                    .0
                }
                13 => heap.uint(word()?),
                14 => {
                    let (bytes, size) = (word()? as *const u8, word()? as usize);
                    heap.binary(bytes_at(bytes, size))
                }
                15 => heap.int(*(word()? as *const i64)),
                16 => heap.uint(*(word()? as *const u64)),
                17 => {
                    let from = built.len().checked_sub((word()? as usize).checked_mul(2)?)?;
                    let pairs: Vec<(Term, Term)> =
                        built[from..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
                    built.truncate(from);
                    map::from_unique_pairs(heap, &pairs).ok()?
                }
                _ => return None,
            }
        };
        built.push(term);
    }
    match built[..] {
        [term] => Some(term),
        _ => None,
    }
}

/// # Safety
/// So many bytes are there.
unsafe fn bytes_at<'a>(bytes: *const u8, count: usize) -> &'a [u8] {
    // SAFETY: the caller's.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bytes, count) } }
}

/// Sends the term that the words describe: 1, 0 where nobody is there, -1 where they describe none
/// or the port is none. A port that lingers tells nobody anything.
fn send(from: Term, to: Option<u64>, words: CArray<u64>, count: c_int) -> c_int {
    let _guard = pin();
    match from.as_port().and_then(|number| open_port(number as Handle)) {
        None => return -1,
        Some(port) if port.has_lingered() => return 0,
        Some(_) => {}
    }
    let Some(to) = to else { return 0 };
    let mut heap = FragmentHeap::new();
    // SAFETY: by the interface what the words point at is there.
    let Some(term) = (unsafe { build(&mut heap, words.of(usize::try_from(count).unwrap_or(0))) })
    else {
        return -1;
    };
    vm().trace_port_sends(from, to, term);
    c_int::from(signal::send_message(vm(), from, to, term))
}

fn owner(driver: &LoadedPort) -> Option<u64> {
    driver.shell().map(|port| port.owner())
}

/// Sends the owner of `port` the term that the words describe; results as those of [`send`].
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_output_term(port: Term, words: CArray<u64>, count: c_int) -> c_int {
    let driver = port.as_port().and_then(|number| open_port(number as Handle));
    send(port, driver.and_then(|driver| owner(&driver)), words, count)
}
/// Sends a process the term that the words describe; results as those of [`send`].
#[unsafe(no_mangle)]
pub extern "C" fn erl_drv_send_term(
    port: Term,
    to: Term,
    words: CArray<u64>,
    count: c_int,
) -> c_int {
    send(port, to.as_pid(), words, count)
}
/// [`erl_drv_output_term`] under its former name, by handle.
#[unsafe(no_mangle)]
pub extern "C" fn driver_output_term(handle: Handle, words: CArray<u64>, count: c_int) -> c_int {
    erl_drv_output_term(driver_mk_port(handle), words, count)
}
/// [`erl_drv_send_term`] under its former name, by handle.
#[unsafe(no_mangle)]
pub extern "C" fn driver_send_term(
    handle: Handle,
    to: Term,
    words: CArray<u64>,
    count: c_int,
) -> c_int {
    send(driver_mk_port(handle), to.as_pid(), words, count)
}

/// `ErlDrvNowData`.
#[repr(C)]
pub struct Now {
    mega: c_ulong,
    seconds: c_ulong,
    micro: c_ulong,
}

/// The system's time since 1970; always 0.
#[unsafe(no_mangle)]
pub extern "C" fn driver_get_now(to: crate::abi::Out<Now>) -> c_int {
    let micro = (vm().clock.system_ns() / 1000).unsigned_abs();
    to.put(Now {
        mega: micro / 1_000_000_000_000,
        seconds: micro / 1_000_000 % 1_000_000,
        micro: micro % 1_000_000,
    });
    0
}
