//! `zlib`: compression, by the original zlib.
//!
//! It is the C library (its own source, built along) and not a rewrite because what OTP's tools
//! write is to be the same byte for byte: compressed literals in `.beam` files, archives.

use crate::c_memory;
use libz_sys as z;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, FragmentHeap, Release, Term, am, atom};

unsafe extern "C" {
    /// A function of zlib's interface (`zlib.h`) that the bindings lack.
    fn inflateGetDictionary(stream: *mut z::z_stream, dictionary: *mut u8, length: *mut u32)
    -> i32;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    Deflate,
    Inflate,
}

/// What happens when there is input after the end of an inflated stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterEnd {
    Error,
    Reset,
    Cut,
}

struct State {
    stream: Box<z::z_stream>,
    mode: Mode,
    input: VecDeque<u8>,
    after_end: AfterEnd,
    end_seen: bool,
    raw: bool,
    input_crc: u32,
    output_crc: u32,
    buffer_size: i64,
    stash: Option<(FragmentHeap, Term)>,
}

// SAFETY: the stream's own memory is reached only through it, and the state is behind a lock.
unsafe impl Send for State {}

struct Stream {
    owner: AtomicU64,
    state: Mutex<State>,
}

impl State {
    /// Ends the codec; zlib's code.
    fn end(&mut self) -> i32 {
        let mode = std::mem::replace(&mut self.mode, Mode::None);
        self.input.clear();
        // SAFETY: the stream was initialised for that mode.
        unsafe {
            match mode {
                Mode::Deflate => z::deflateEnd(&raw mut *self.stream),
                Mode::Inflate => z::inflateEnd(&raw mut *self.stream),
                Mode::None => z::Z_OK,
            }
        }
    }
    fn start(&mut self, mode: Mode, raw: bool) {
        self.mode = mode;
        self.raw = raw;
        self.end_seen = false;
        (self.input_crc, self.output_crc) = (0, 0);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.end();
    }
}

/// Memory from the machine's allocator, which has it at hand: a quarter of a megabyte for a moment
/// is dear elsewhere.
extern "C" fn allocate(_: *mut std::ffi::c_void, items: u32, size: u32) -> *mut std::ffi::c_void {
    c_memory::allocate(items as usize * size as usize)
}
extern "C" fn release(_: *mut std::ffi::c_void, memory: *mut std::ffi::c_void) {
    c_memory::release(memory);
}

fn streams(p: &Process) -> &'static Resources<Stream> {
    p.vm.extension::<Resources<Stream>>()
}

fn raise(name: &str) -> BifExit {
    BifExit::Error(Term::atom(swarmrt_term::Atom::new(name)))
}

/// zlib's result as OTP gives it.
fn outcome(code: i32) -> BifResult {
    Ok(Term::atom(match code {
        z::Z_OK => am::OK,
        z::Z_STREAM_END => atom!("stream_end"),
        z::Z_STREAM_ERROR => return Err(raise("stream_error")),
        z::Z_DATA_ERROR => return Err(raise("data_error")),
        z::Z_MEM_ERROR => atom!("mem_error"),
        z::Z_BUF_ERROR => atom!("buf_error"),
        z::Z_VERSION_ERROR => atom!("version_error"),
        _ => atom!("unknown_error"),
    }))
}

/// Does something with a stream of the process, in one mode when one is asked for.
fn with(
    p: &mut Process,
    stream: Term,
    mode: Option<Mode>,
    work: impl FnOnce(&mut Process, &mut State) -> BifResult,
) -> BifResult {
    let wrong_mode =
        || raise(if mode == Some(Mode::None) { "already_initialized" } else { "not_initialized" });
    let Some(stream) = streams(p).get(stream) else {
        return Err(if streams(p).stood_for(stream) { wrong_mode() } else { BifExit::BADARG });
    };
    if stream.owner.load(Ordering::Relaxed) != p.id() {
        return Err(raise("not_on_controlling_process"));
    }
    let mut state = stream.state.lock();
    if mode.is_some_and(|mode| mode != state.mode) {
        return Err(wrong_mode());
    }
    work(p, &mut state)
}

fn int(term: Term) -> Result<i32, BifExit> {
    term.as_small().and_then(|value| i32::try_from(value).ok()).ok_or(BifExit::BADARG)
}

#[bif("zlib:open_nif/0")]
fn open_nif(p: &mut Process) -> BifResult {
    let stream = Box::new(z::z_stream {
        next_in: std::ptr::null_mut(),
        avail_in: 0,
        total_in: 0,
        next_out: std::ptr::null_mut(),
        avail_out: 0,
        total_out: 0,
        msg: std::ptr::null_mut(),
        state: std::ptr::null_mut(),
        zalloc: allocate,
        zfree: release,
        opaque: std::ptr::null_mut(),
        data_type: z::Z_BINARY,
        adler: 0,
        reserved: 0,
    });
    let state = State {
        stream,
        mode: Mode::None,
        input: VecDeque::new(),
        after_end: AfterEnd::Cut,
        end_seen: false,
        raw: false,
        input_crc: 0,
        output_crc: 0,
        buffer_size: 4000,
        stash: None,
    };
    let owner = AtomicU64::new(p.id());
    Ok(streams(p).add(p, Arc::new(Stream { owner, state: Mutex::new(state) })))
}

#[bif("zlib:close_nif/1")]
fn close_nif(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, None, |_, state| {
        state.end();
        Ok(Term::atom(am::OK))
    })?;
    match streams(p).remove(stream) {
        Some(_) => Ok(Term::atom(am::OK)),
        None => Err(raise("not_initialized")),
    }
}

#[bif("zlib:set_controller_nif/2")]
fn set_controller_nif(p: &mut Process, stream: Term, pid: Term) -> BifResult {
    let pid = pid.as_pid().ok_or(BifExit::BADARG)?;
    with(p, stream, None, |_, _| Ok(Term::atom(am::OK)))?;
    if let Some(found) = streams(p).get(stream) {
        found.owner.store(pid, Ordering::Relaxed);
    }
    Ok(Term::atom(am::OK))
}

#[bif("zlib:deflateInit_nif/6")]
fn deflate_init(
    p: &mut Process,
    stream: Term,
    level: Term,
    method: Term,
    window: Term,
    memory: Term,
    strategy: Term,
) -> BifResult {
    let [level, method, window, memory, strategy] =
        [int(level)?, int(method)?, int(window)?, int(memory)?, int(strategy)?];
    with(p, stream, Some(Mode::None), |_, state| {
        // SAFETY: the stream is zeroed or was ended.
        let code = unsafe {
            z::deflateInit2_(
                &raw mut *state.stream,
                level,
                method,
                window,
                memory,
                strategy,
                z::zlibVersion(),
                size_of::<z::z_stream>() as i32,
            )
        };
        if code == z::Z_OK {
            state.start(Mode::Deflate, window < 0);
        }
        outcome(code)
    })
}

#[bif("zlib:inflateInit_nif/3")]
fn inflate_init(p: &mut Process, stream: Term, window: Term, after_end: Term) -> BifResult {
    let window = int(window)?;
    let after_end = match int(after_end)? {
        0 => AfterEnd::Error,
        1 => AfterEnd::Reset,
        _ => AfterEnd::Cut,
    };
    with(p, stream, Some(Mode::None), |_, state| {
        // SAFETY: the stream is zeroed or was ended.
        let code = unsafe {
            z::inflateInit2_(
                &raw mut *state.stream,
                window,
                z::zlibVersion(),
                size_of::<z::z_stream>() as i32,
            )
        };
        if code == z::Z_OK {
            state.start(Mode::Inflate, window < 0);
            state.after_end = after_end;
        }
        outcome(code)
    })
}

/// The checksum of a dictionary, which OTP 25 has as a signed number.
fn dictionary_checksum(p: &mut Process, checksum: u32) -> Term {
    if p.vm.release() >= Release::R26 {
        p.int(i64::from(checksum))
    } else {
        p.int(i64::from(checksum as i32))
    }
}

#[bif("zlib:deflateSetDictionary_nif/2")]
fn deflate_set_dictionary(p: &mut Process, stream: Term, dictionary: Term) -> BifResult {
    let bytes = crate::port::iodata(dictionary).ok_or(BifExit::BADARG)?;
    with(p, stream, Some(Mode::Deflate), |p, state| {
        // SAFETY: the stream is set up, and the bytes are live.
        let code = unsafe {
            z::deflateSetDictionary(&raw mut *state.stream, bytes.as_ptr(), bytes.len() as u32)
        };
        if code != z::Z_OK {
            return outcome(code);
        }
        let checksum = if state.raw {
            // SAFETY: the bytes are live.
            unsafe { z::adler32(0, bytes.as_ptr(), bytes.len() as u32) }
        } else {
            state.stream.adler
        };
        Ok(dictionary_checksum(p, checksum as u32))
    })
}

#[bif("zlib:inflateSetDictionary_nif/2")]
fn inflate_set_dictionary(p: &mut Process, stream: Term, dictionary: Term) -> BifResult {
    let bytes = crate::port::iodata(dictionary).ok_or(BifExit::BADARG)?;
    with(p, stream, Some(Mode::Inflate), |_, state| {
        // SAFETY: the stream is set up, and the bytes are live.
        outcome(unsafe {
            z::inflateSetDictionary(&raw mut *state.stream, bytes.as_ptr(), bytes.len() as u32)
        })
    })
}

#[bif("zlib:inflateGetDictionary_nif/1")]
fn inflate_get_dictionary(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, Some(Mode::Inflate), |p, state| {
        let mut bytes = vec![0u8; 32 * 1024];
        let mut length = 0u32;
        // SAFETY: a dictionary is at most 32 KiB.
        let code = unsafe {
            inflateGetDictionary(&raw mut *state.stream, bytes.as_mut_ptr(), &raw mut length)
        };
        if code < 0 { outcome(code) } else { Ok(p.binary(&bytes[..length as usize])) }
    })
}

#[bif("zlib:deflateReset_nif/1")]
fn deflate_reset(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, Some(Mode::Deflate), |_, state| {
        state.input_crc = 0;
        state.end_seen = false;
        state.input.clear();
        // SAFETY: the stream is set up.
        outcome(unsafe { z::deflateReset(&raw mut *state.stream) })
    })
}
#[bif("zlib:inflateReset_nif/1")]
fn inflate_reset(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, Some(Mode::Inflate), |_, state| {
        state.output_crc = 0;
        state.end_seen = false;
        state.input.clear();
        // SAFETY: the stream is set up.
        outcome(unsafe { z::inflateReset(&raw mut *state.stream) })
    })
}
#[bif("zlib:deflateEnd_nif/1")]
fn deflate_end(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, Some(Mode::Deflate), |_, state| {
        let left = !state.input.is_empty();
        let code = state.end();
        outcome(if code == z::Z_OK && left { z::Z_DATA_ERROR } else { code })
    })
}
#[bif("zlib:inflateEnd_nif/1")]
fn inflate_end(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, Some(Mode::Inflate), |_, state| {
        let unfinished = !state.end_seen || !state.input.is_empty();
        let code = state.end();
        outcome(if code == z::Z_OK && unfinished { z::Z_DATA_ERROR } else { code })
    })
}

#[bif("zlib:deflateParams_nif/3")]
fn deflate_params(p: &mut Process, stream: Term, level: Term, strategy: Term) -> BifResult {
    let (level, strategy) = (int(level)?, int(strategy)?);
    with(p, stream, Some(Mode::Deflate), |_, state| {
        // The caller has flushed: nothing is to come out. One byte of room shows when something
        // would.
        let mut byte = 0u8;
        state.stream.next_in = std::ptr::null_mut();
        state.stream.avail_in = 0;
        state.stream.next_out = &raw mut byte;
        state.stream.avail_out = 1;
        // SAFETY: the stream is set up, with one byte of room.
        let code = unsafe { z::deflateParams(&raw mut *state.stream, level, strategy) };
        outcome(if state.stream.avail_out == 0 { z::Z_STREAM_ERROR } else { code })
    })
}

fn crc(so_far: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(so_far);
    hasher.update(bytes);
    hasher.finalize()
}

fn run(state: &mut State, flush: i32) -> i32 {
    // SAFETY: the stream is set up, and its input and output pointers are live for as many bytes as
    // they say.
    unsafe {
        match state.mode {
            Mode::Deflate => z::deflate(&raw mut *state.stream, flush),
            _ => z::inflate(&raw mut *state.stream, flush),
        }
    }
}

/// One step of a codec: at most `input_limit` bytes in, `output_limit` bytes out.
fn step(
    p: &mut Process,
    state: &mut State,
    input_limit: usize,
    output_limit: usize,
    flush: i32,
) -> BifResult {
    let mut output = vec![0u8; output_limit];
    state.stream.next_out = output.as_mut_ptr();
    state.stream.avail_out = output_limit as u32;
    let mut code = z::Z_OK;
    let mut consumed = 0;
    if !state.input.is_empty() && input_limit > 0 {
        let count = state.input.len().min(input_limit);
        let block: Vec<u8> = state.input.iter().take(count).copied().collect();
        state.stream.next_in = block.as_ptr().cast_mut();
        state.stream.avail_in = count as u32;
        // Flushing waits for the end of the input.
        code = run(state, z::Z_NO_FLUSH);
        consumed = count - state.stream.avail_in as usize;
        if state.mode == Mode::Deflate && state.raw {
            state.input_crc = crc(state.input_crc, &block[..consumed]);
        }
        state.input.drain(..consumed);
    }
    let remaining = state.input.len();
    if code == z::Z_OK && remaining == 0 && state.stream.avail_out > 0 {
        state.stream.next_in = std::ptr::null_mut();
        state.stream.avail_in = 0;
        code = run(state, flush);
    }
    let produced = output_limit - state.stream.avail_out as usize;
    state.stream.next_in = std::ptr::null_mut();
    state.stream.next_out = std::ptr::null_mut();
    if code < 0 && code != z::Z_BUF_ERROR {
        return outcome(code);
    }
    state.end_seen |= code == z::Z_STREAM_END;
    let output = &output[..produced];
    if state.mode == Mode::Inflate && state.raw {
        state.output_crc = crc(state.output_crc, output);
    }
    if consumed == 0 && produced == 0 && remaining != 0 {
        return outcome(z::Z_DATA_ERROR);
    }
    p.bump_reductions((consumed + produced) / 20);
    let chunk = if output.is_empty() {
        Term::NIL
    } else {
        let chunk = p.binary(output);
        p.list(&[chunk])
    };
    if remaining == 0 && produced < output_limit {
        return Ok(p.tuple(&[Term::atom(atom!("finished")), chunk]));
    }
    if code != z::Z_NEED_DICT {
        return Ok(p.tuple(&[Term::atom(atom!("continue")), chunk]));
    }
    let checksum = dictionary_checksum(p, state.stream.adler as u32);
    Ok(p.tuple(&[Term::atom(atom!("need_dictionary")), checksum, chunk]))
}

#[bif("zlib:deflate_nif/4")]
fn deflate(p: &mut Process, stream: Term, input: Term, output: Term, flush: Term) -> BifResult {
    let [input, output, flush] = [int(input)?, int(output)?, int(flush)?];
    with(p, stream, Some(Mode::Deflate), |p, state| {
        step(p, state, input.max(0) as usize, output.max(1) as usize, flush)
    })
}

#[bif("zlib:inflate_nif/4")]
fn inflate(p: &mut Process, stream: Term, input: Term, output: Term, flush: Term) -> BifResult {
    let [input, output, flush] = [int(input)?, int(output)?, int(flush)?];
    with(p, stream, Some(Mode::Inflate), |p, state| {
        if state.end_seen && !state.input.is_empty() {
            match state.after_end {
                AfterEnd::Error => return Err(raise("data_error")),
                AfterEnd::Reset => {
                    // SAFETY: the stream is set up.
                    let code = unsafe { z::inflateReset(&raw mut *state.stream) };
                    if code != z::Z_OK {
                        return outcome(code);
                    }
                    state.output_crc = 0;
                    state.end_seen = false;
                }
                AfterEnd::Cut => state.input.clear(),
            }
        }
        step(p, state, input.max(0) as usize, output.max(1) as usize, flush)
    })
}

#[bif("zlib:enqueue_nif/2")]
fn enqueue(p: &mut Process, stream: Term, vector: Term) -> BifResult {
    let bytes = crate::port::iodata(vector).ok_or(BifExit::BADARG)?;
    with(p, stream, None, |_, state| {
        if state.mode == Mode::None {
            return Err(raise("not_initialized"));
        }
        state.input.extend(bytes);
        Ok(Term::atom(am::OK))
    })
}

#[bif("zlib:crc32_nif/1")]
fn crc32(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, None, |p, state| {
        let value = match state.mode {
            Mode::Deflate if state.raw => state.input_crc,
            Mode::Inflate if state.raw => state.output_crc,
            Mode::None => return Err(raise("not_initialized")),
            _ => state.stream.adler as u32,
        };
        Ok(p.int(i64::from(value)))
    })
}

#[bif("zlib:getStash_nif/1")]
fn get_stash(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, None, |p, state| match &state.stash {
        Some((_, term)) => {
            let term = swarmrt_heap::copy_term(*term, &mut p.heap);
            Ok(p.tuple(&[Term::atom(am::OK), term]))
        }
        None => Ok(Term::atom(atom!("empty"))),
    })
}
#[bif("zlib:clearStash_nif/1")]
fn clear_stash(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, None, |_, state| match state.stash.take() {
        Some(_) => Ok(Term::atom(am::OK)),
        None => Err(raise("error")),
    })
}
#[bif("zlib:setStash_nif/2")]
fn set_stash(p: &mut Process, stream: Term, term: Term) -> BifResult {
    with(p, stream, None, |_, state| {
        if state.stash.is_some() {
            return Err(raise("error"));
        }
        let mut heap = FragmentHeap::new();
        let term = swarmrt_heap::copy_whole(term, &mut heap);
        state.stash = Some((heap, term));
        Ok(Term::atom(am::OK))
    })
}

#[bif("zlib:getBufSize_nif/1")]
fn get_buffer_size(p: &mut Process, stream: Term) -> BifResult {
    with(p, stream, None, |_, state| Ok(Term::small(state.buffer_size)))
}
#[bif("zlib:setBufSize_nif/2")]
fn set_buffer_size(p: &mut Process, stream: Term, size: Term) -> BifResult {
    let size = size.as_small().ok_or(BifExit::BADARG)?;
    with(p, stream, None, |_, state| {
        state.buffer_size = size;
        Ok(Term::atom(am::OK))
    })
}
