//! `prim_buffer`: the byte queue behind buffered files.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am, atom};

#[derive(Default)]
struct Buffer {
    bytes: Mutex<VecDeque<u8>>,
    locked: AtomicBool,
}

fn buffers(p: &Process) -> &'static Resources<Buffer> {
    p.vm.extension::<Resources<Buffer>>()
}
fn find(p: &Process, reference: Term) -> Result<Arc<Buffer>, BifExit> {
    buffers(p).get(reference).ok_or(BifExit::BADARG)
}
fn count(term: Term) -> Result<usize, BifExit> {
    term.as_small().and_then(|count| usize::try_from(count).ok()).ok_or(BifExit::BADARG)
}

#[bif("prim_buffer:new/0")]
fn new(p: &mut Process) -> BifResult {
    Ok(buffers(p).add(p, Arc::default()))
}
#[bif("prim_buffer:size/1")]
fn size(p: &mut Process, buffer: Term) -> BifResult {
    let length = find(p, buffer)?.bytes.lock().len();
    Ok(Term::small(length as i64))
}
#[bif("prim_buffer:peek_head/1")]
fn peek_head(p: &mut Process, buffer: Term) -> BifResult {
    let buffer = find(p, buffer)?;
    let bytes = buffer.bytes.lock();
    Ok(p.binary(bytes.as_slices().0))
}
#[bif("prim_buffer:copying_read/2")]
fn copying_read(p: &mut Process, buffer: Term, wanted: Term) -> BifResult {
    let buffer = find(p, buffer)?;
    let mut bytes = buffer.bytes.lock();
    let wanted = count(wanted)?;
    if wanted > bytes.len() {
        return Err(BifExit::BADARG);
    }
    let taken: Vec<u8> = bytes.drain(..wanted).collect();
    Ok(p.binary(&taken))
}
#[bif("prim_buffer:write/2")]
fn write(p: &mut Process, buffer: Term, vector: Term) -> BifResult {
    let buffer = find(p, buffer)?;
    let mut bytes = buffer.bytes.lock();
    for item in vector.list_to_vec().ok_or(BifExit::BADARG)? {
        let bits = item.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)?;
        bytes.extend(bits.to_bytes().iter());
    }
    Ok(Term::atom(am::OK))
}
#[bif("prim_buffer:skip/2")]
fn skip(p: &mut Process, buffer: Term, wanted: Term) -> BifResult {
    let buffer = find(p, buffer)?;
    let mut bytes = buffer.bytes.lock();
    let wanted = count(wanted)?;
    if wanted > bytes.len() {
        return Err(BifExit::BADARG);
    }
    bytes.drain(..wanted);
    Ok(Term::atom(am::OK))
}
#[bif("prim_buffer:find_byte_index/2")]
fn find_byte_index(p: &mut Process, buffer: Term, needle: Term) -> BifResult {
    let buffer = find(p, buffer)?;
    let needle =
        needle.as_small().and_then(|byte| u8::try_from(byte).ok()).ok_or(BifExit::BADARG)?;
    let at = buffer.bytes.lock().iter().position(|&byte| byte == needle);
    Ok(match at {
        Some(at) => p.tuple(&[Term::atom(am::OK), Term::small(at as i64)]),
        None => Term::atom(atom!("not_found")),
    })
}
#[bif("prim_buffer:try_lock/1")]
fn try_lock(p: &mut Process, buffer: Term) -> BifResult {
    let taken = find(p, buffer)?.locked.swap(true, Ordering::Acquire);
    Ok(Term::atom(if taken { am::BUSY } else { atom!("acquired") }))
}
#[bif("prim_buffer:unlock/1")]
fn unlock(p: &mut Process, buffer: Term) -> BifResult {
    let held = find(p, buffer)?.locked.swap(false, Ordering::Release);
    if held { Ok(Term::atom(am::OK)) } else { Err(BifExit::BADARG) }
}
