//! `zstd`, from OTP 28 on: Zstandard compression, by its own C library, whose output is OTP's byte
//! for byte.
//!
//! A context is one process's; a dictionary may be used by all. A context holds the dictionary that
//! it refers to.

use crate::c_memory;
use parking_lot::Mutex;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use swarmrt_machine::vm::resource::Resources;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Bits, Term, am, atom, map};
use zstd_sys as z;
use zstd_sys::ZSTD_cParameter as CParameter;

/// Bytes of input that cost a reduction.
const BYTES_PER_REDUCTION: usize = 1024;

extern "C" fn allocate(_: *mut c_void, bytes: usize) -> *mut c_void {
    c_memory::allocate(bytes)
}

extern "C" fn release(_: *mut c_void, memory: *mut c_void) {
    c_memory::release(memory);
}

const MEMORY: z::ZSTD_customMem = z::ZSTD_customMem {
    customAlloc: Some(allocate),
    customFree: Some(release),
    opaque: std::ptr::null_mut(),
};

/// One of the library's objects, freed with its value.
struct Handle<T> {
    object: NonNull<T>,
    free: unsafe extern "C" fn(*mut T) -> usize,
}

// SAFETY: the object is reached only through the handle, and the library keeps no state of threads.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: contexts are behind locks; dictionaries are only read once they are made.
unsafe impl<T> Sync for Handle<T> {}

impl<T> Handle<T> {
    fn new(object: *mut T, free: unsafe extern "C" fn(*mut T) -> usize) -> Option<Handle<T>> {
        NonNull::new(object).map(|object| Handle { object, free })
    }
    fn get(&self) -> *mut T {
        self.object.as_ptr()
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the library made the object, and nothing else frees it.
        unsafe { (self.free)(self.get()) };
    }
}

struct Context<C, D> {
    owner: u64,
    state: Mutex<State<C, D>>,
}

struct State<C, D> {
    codec: Handle<C>,
    /// What the codec refers to; declared behind it, so that it goes after it.
    dictionary: Option<Arc<Dictionary<D>>>,
    /// A stream has begun: the sizes of its first frame were looked at.
    in_use: bool,
}

struct Dictionary<D>(Handle<D>);

fn raise(reason: Term) -> BifExit {
    BifExit::Error(reason)
}

/// Nothing, or the library's error as `{zstd_error, Name}`.
fn check(p: &mut Process, code: usize) -> Result<usize, BifExit> {
    // SAFETY: any code may be asked for; names are static strings.
    unsafe {
        if z::ZSTD_isError(code) == 0 {
            return Ok(code);
        }
        let name = CStr::from_ptr(z::ZSTD_getErrorName(code)).to_bytes();
        let name = p.binary(name);
        Err(raise(p.tuple(&[Term::atom(atom!("zstd_error")), name])))
    }
}

fn ok(p: &mut Process, code: usize) -> BifResult {
    check(p, code).map(|_| Term::atom(am::OK))
}

fn bad(p: &mut Process, what: &str, term: Term) -> BifExit {
    let detail = p.tuple(&[Term::atom(Atom::new(what)), term]);
    raise(p.tuple(&[Term::atom(am::BADARG), detail]))
}

fn no_memory() -> BifExit {
    raise(Term::atom(am::SYSTEM_LIMIT))
}

/// Does something with a context of the process.
fn with<C: 'static, D: 'static>(
    p: &mut Process,
    context: Term,
    work: impl FnOnce(&mut Process, &mut State<C, D>) -> BifResult,
) -> BifResult {
    let context =
        p.vm.extension::<Resources<Context<C, D>>>().get(context).ok_or(BifExit::BADARG)?;
    if context.owner != p.id() {
        return Err(raise(Term::atom(atom!("not_on_controlling_process"))));
    }
    work(p, &mut context.state.lock())
}

fn compressing(
    p: &mut Process,
    context: Term,
    work: impl FnOnce(&mut Process, &mut State<z::ZSTD_CCtx, z::ZSTD_CDict>) -> BifResult,
) -> BifResult {
    with(p, context, work)
}

fn decompressing(
    p: &mut Process,
    context: Term,
    work: impl FnOnce(&mut Process, &mut State<z::ZSTD_DCtx, z::ZSTD_DDict>) -> BifResult,
) -> BifResult {
    with(p, context, work)
}

fn add<C: Send + 'static, D: 'static>(p: &mut Process, codec: Option<Handle<C>>) -> BifResult {
    let state = State { codec: codec.ok_or_else(no_memory)?, dictionary: None, in_use: false };
    let context = Context::<C, D> { owner: p.id(), state: Mutex::new(state) };
    Ok(p.vm.extension::<Resources<Context<C, D>>>().add(p, Arc::new(context)))
}

fn close<C: 'static, D: 'static>(p: &mut Process, context: Term) -> BifResult {
    with::<C, D>(p, context, |_, _| Ok(Term::NIL))?;
    p.vm.extension::<Resources<Context<C, D>>>().remove(context);
    Ok(Term::atom(am::OK))
}

#[bif("zstd:init_compress_nif/0", since = 28)]
fn init_compress(p: &mut Process) -> BifResult {
    // SAFETY: the memory functions are the library's to call.
    let codec = unsafe { Handle::new(z::ZSTD_createCCtx_advanced(MEMORY), z::ZSTD_freeCCtx) };
    add::<_, z::ZSTD_CDict>(p, codec)
}

#[bif("zstd:init_decompress_nif/0", since = 28)]
fn init_decompress(p: &mut Process) -> BifResult {
    // SAFETY: the memory functions are the library's to call.
    let codec = unsafe { Handle::new(z::ZSTD_createDCtx_advanced(MEMORY), z::ZSTD_freeDCtx) };
    add::<_, z::ZSTD_DDict>(p, codec)
}

#[bif("zstd:compress_close_nif/1", since = 28)]
fn compress_close(p: &mut Process, context: Term) -> BifResult {
    close::<z::ZSTD_CCtx, z::ZSTD_CDict>(p, context)
}

#[bif("zstd:decompress_close_nif/1", since = 28)]
fn decompress_close(p: &mut Process, context: Term) -> BifResult {
    close::<z::ZSTD_DCtx, z::ZSTD_DDict>(p, context)
}

fn reset_compressor(state: &mut State<z::ZSTD_CCtx, z::ZSTD_CDict>) {
    // SAFETY: the context is live and behind its lock.
    unsafe {
        z::ZSTD_CCtx_reset(state.codec.get(), z::ZSTD_ResetDirective::ZSTD_reset_session_only)
    };
    state.in_use = false;
}

fn reset_decompressor(state: &mut State<z::ZSTD_DCtx, z::ZSTD_DDict>) {
    // SAFETY: the context is live and behind its lock.
    unsafe {
        z::ZSTD_DCtx_reset(state.codec.get(), z::ZSTD_ResetDirective::ZSTD_reset_session_only)
    };
    state.in_use = false;
}

#[bif("zstd:compress_reset_nif/1", since = 28)]
fn compress_reset(p: &mut Process, context: Term) -> BifResult {
    compressing(p, context, |_, state| {
        reset_compressor(state);
        Ok(Term::atom(am::OK))
    })
}

#[bif("zstd:decompress_reset_nif/1", since = 28)]
fn decompress_reset(p: &mut Process, context: Term) -> BifResult {
    decompressing(p, context, |_, state| {
        reset_decompressor(state);
        Ok(Term::atom(am::OK))
    })
}

#[bif("zstd:load_compress_dictionary_nif/2", since = 28, dirty_cpu)]
fn load_compress_dictionary(p: &mut Process, context: Term, dictionary: Term) -> BifResult {
    compressing(p, context, |p, state| {
        let bytes = crate::port::iodata(dictionary).ok_or(BifExit::BADARG)?;
        // SAFETY: the context is live; the library copies the bytes.
        let code = unsafe {
            z::ZSTD_CCtx_loadDictionary(state.codec.get(), bytes.as_ptr().cast(), bytes.len())
        };
        state.dictionary = None;
        ok(p, code)
    })
}

#[bif("zstd:load_decompress_dictionary_nif/2", since = 28, dirty_cpu)]
fn load_decompress_dictionary(p: &mut Process, context: Term, dictionary: Term) -> BifResult {
    decompressing(p, context, |p, state| {
        let bytes = crate::port::iodata(dictionary).ok_or(BifExit::BADARG)?;
        // SAFETY: the context is live; the library copies the bytes.
        let code = unsafe {
            z::ZSTD_DCtx_loadDictionary(state.codec.get(), bytes.as_ptr().cast(), bytes.len())
        };
        state.dictionary = None;
        ok(p, code)
    })
}

#[bif("zstd:ref_compress_dictionary_nif/2", since = 28)]
fn ref_compress_dictionary(p: &mut Process, context: Term, dictionary: Term) -> BifResult {
    compressing(p, context, |p, state| refer(p, state, dictionary, z::ZSTD_CCtx_refCDict))
}

#[bif("zstd:ref_decompress_dictionary_nif/2", since = 28)]
fn ref_decompress_dictionary(p: &mut Process, context: Term, dictionary: Term) -> BifResult {
    decompressing(p, context, |p, state| refer(p, state, dictionary, z::ZSTD_DCtx_refDDict))
}

/// Has a context refer to a dictionary.
fn refer<C, D: 'static>(
    p: &mut Process,
    state: &mut State<C, D>,
    dictionary: Term,
    refer: unsafe extern "C" fn(*mut C, *const D) -> usize,
) -> BifResult {
    let dictionary = dictionaries(p).get(dictionary).ok_or(BifExit::BADARG)?;
    // SAFETY: both are live; the state keeps the dictionary as long as the context refers to it.
    let code = unsafe { refer(state.codec.get(), dictionary.0.get()) };
    check(p, code)?;
    state.dictionary = Some(dictionary);
    Ok(Term::atom(am::OK))
}

fn dictionaries<D: 'static>(p: &Process) -> &'static Resources<Dictionary<D>> {
    p.vm.extension::<Resources<Dictionary<D>>>()
}

fn whole_bytes(term: Term) -> Result<Bits, BifExit> {
    term.as_bits().filter(|bits| bits.is_binary()).ok_or(BifExit::BADARG)
}

fn made<D: 'static>(p: &mut Process, dictionary: Option<Handle<D>>, why_not: &str) -> BifResult {
    match dictionary {
        Some(handle) => Ok(dictionaries::<D>(p).add(p, Arc::new(Dictionary(handle)))),
        None => Ok(p.tuple(&[Term::atom(am::ERROR), Term::atom(Atom::new(why_not))])),
    }
}

#[bif("zstd:create_cdict_nif/2", since = 28, dirty_cpu)]
fn create_cdict(p: &mut Process, dictionary: Term, level: Term) -> BifResult {
    let (bytes, level) = (whole_bytes(dictionary)?.to_bytes(), int(level).ok_or(BifExit::BADARG)?);
    // SAFETY: the library copies the bytes.
    let made_of = unsafe {
        let parameters = z::ZSTD_getCParams(level, 0, bytes.len());
        let (copied, any) =
            (z::ZSTD_dictLoadMethod_e::ZSTD_dlm_byCopy, z::ZSTD_dictContentType_e::ZSTD_dct_auto);
        z::ZSTD_createCDict_advanced(
            bytes.as_ptr().cast(),
            bytes.len(),
            copied,
            any,
            parameters,
            MEMORY,
        )
    };
    made(p, Handle::new(made_of, z::ZSTD_freeCDict), "invalid_compress_dict")
}

#[bif("zstd:create_ddict_nif/1", since = 28, dirty_cpu)]
fn create_ddict(p: &mut Process, dictionary: Term) -> BifResult {
    let bytes = whole_bytes(dictionary)?.to_bytes();
    // SAFETY: the library copies the bytes.
    let made_of = unsafe {
        let (copied, any) =
            (z::ZSTD_dictLoadMethod_e::ZSTD_dlm_byCopy, z::ZSTD_dictContentType_e::ZSTD_dct_auto);
        z::ZSTD_createDDict_advanced(bytes.as_ptr().cast(), bytes.len(), copied, any, MEMORY)
    };
    made(p, Handle::new(made_of, z::ZSTD_freeDDict), "invalid_decompress_dict")
}

#[bif("zstd:getDictId_fromCDict_nif/1", since = 28)]
fn id_of_cdict(p: &mut Process, dictionary: Term) -> BifResult {
    let dictionary = dictionaries(p).get(dictionary).ok_or(BifExit::BADARG)?;
    // SAFETY: the dictionary is live.
    Ok(Term::small(unsafe { z::ZSTD_getDictID_fromCDict(dictionary.0.get()) }.into()))
}

#[bif("zstd:getDictId_fromDDict_nif/1", since = 28)]
fn id_of_ddict(p: &mut Process, dictionary: Term) -> BifResult {
    let dictionary = dictionaries(p).get(dictionary).ok_or(BifExit::BADARG)?;
    // SAFETY: the dictionary is live.
    Ok(Term::small(unsafe { z::ZSTD_getDictID_fromDDict(dictionary.0.get()) }.into()))
}

#[bif("zstd:getDictId_fromDict_nif/1", since = 28)]
fn id_of_dictionary(_: &mut Process, dictionary: Term) -> BifResult {
    let bytes = crate::port::iodata(dictionary).ok_or(BifExit::BADARG)?;
    // SAFETY: the bytes are live.
    Ok(Term::small(
        unsafe { z::ZSTD_getDictID_fromDict(bytes.as_ptr().cast(), bytes.len()) }.into(),
    ))
}

#[bif("zstd:getDictId_fromFrame_nif/1", since = 28)]
fn id_of_frame(_: &mut Process, frame: Term) -> BifResult {
    let bytes = crate::port::iodata(frame).ok_or(BifExit::BADARG)?;
    // SAFETY: the bytes are live.
    Ok(Term::small(
        unsafe { z::ZSTD_getDictID_fromFrame(bytes.as_ptr().cast(), bytes.len()) }.into(),
    ))
}

#[bif("zstd:get_frame_header_nif/1", since = 28)]
fn get_frame_header(p: &mut Process, frame: Term) -> BifResult {
    let bytes = crate::port::iodata(frame).ok_or(BifExit::BADARG)?;
    let mut header = std::mem::MaybeUninit::<z::ZSTD_FrameHeader>::zeroed();
    // SAFETY: zeros are a header; the bytes are live.
    let (code, header) = unsafe {
        let code = z::ZSTD_getFrameHeader(header.as_mut_ptr(), bytes.as_ptr().cast(), bytes.len());
        (code, header.assume_init())
    };
    check(p, code)?;
    let named = |name: &str| Term::atom(Atom::new(name));
    let content_size = match header.frameContentSize {
        u64::MAX => Term::atom(am::UNDEFINED),
        size => p.uint(size),
    };
    let window_size = p.uint(header.windowSize);
    let is_frame = header.frameType == z::ZSTD_FrameType_e::ZSTD_frame;
    let pairs = [
        (named("frameContentSize"), content_size),
        (named("windowSize"), window_size),
        (named("blockSizeMax"), Term::small(header.blockSizeMax.into())),
        (named("frameType"), named(if is_frame { "ZSTD_frame" } else { "ZSTD_skippableFrame" })),
        (named("headerSize"), Term::small(header.headerSize.into())),
        (named("dictID"), Term::small(header.dictID.into())),
        (named("checksumFlag"), Term::bool(header.checksumFlag != 0)),
    ];
    let pairs = map::from_pairs(p, &pairs);
    Ok(p.tuple(&[Term::atom(am::OK), pairs]))
}

fn int(term: Term) -> Option<c_int> {
    term.as_small().and_then(|value| c_int::try_from(value).ok())
}

fn u64_of(term: Term) -> Option<u64> {
    if let Some(small) = term.as_small() {
        return u64::try_from(small).ok();
    }
    term.as_big()
        .filter(|big| !big.is_negative() && big.digits().len() == 1)
        .map(|big| big.digits()[0])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Flag,
    Strategy,
}

const PARAMETERS: [(&str, CParameter, Kind); 17] = [
    ("compressionLevel", CParameter::ZSTD_c_compressionLevel, Kind::Number),
    ("windowLog", CParameter::ZSTD_c_windowLog, Kind::Number),
    ("hashLog", CParameter::ZSTD_c_hashLog, Kind::Number),
    ("chainLog", CParameter::ZSTD_c_chainLog, Kind::Number),
    ("searchLog", CParameter::ZSTD_c_searchLog, Kind::Number),
    ("minMatch", CParameter::ZSTD_c_minMatch, Kind::Number),
    ("targetLength", CParameter::ZSTD_c_targetLength, Kind::Number),
    ("strategy", CParameter::ZSTD_c_strategy, Kind::Strategy),
    ("targetCBlockSize", CParameter::ZSTD_c_targetCBlockSize, Kind::Number),
    ("enableLongDistanceMatching", CParameter::ZSTD_c_enableLongDistanceMatching, Kind::Flag),
    ("ldmHashLog", CParameter::ZSTD_c_ldmHashLog, Kind::Number),
    ("ldmMinMatch", CParameter::ZSTD_c_ldmMinMatch, Kind::Number),
    ("ldmBucketSizeLog", CParameter::ZSTD_c_ldmBucketSizeLog, Kind::Number),
    ("ldmHashRateLog", CParameter::ZSTD_c_ldmHashRateLog, Kind::Number),
    ("contentSizeFlag", CParameter::ZSTD_c_contentSizeFlag, Kind::Flag),
    ("checksumFlag", CParameter::ZSTD_c_checksumFlag, Kind::Flag),
    ("dictIDFlag", CParameter::ZSTD_c_dictIDFlag, Kind::Flag),
];

/// By number; the first lets the compression level decide.
const STRATEGIES: [&str; 10] = [
    "default", "fast", "dfast", "greedy", "lazy", "lazy2", "btlazy2", "btopt", "btultra",
    "btultra2",
];

fn parameter(p: &mut Process, key: Term) -> Result<(CParameter, Kind), BifExit> {
    let found =
        key.as_atom().and_then(|key| PARAMETERS.iter().find(|(name, ..)| *name == key.name()));
    found.map(|&(_, parameter, kind)| (parameter, kind)).ok_or_else(|| bad(p, "invalid_key", key))
}

#[bif("zstd:set_compress_parameter_nif/3", since = 28)]
fn set_compress_parameter(p: &mut Process, context: Term, key: Term, value: Term) -> BifResult {
    compressing(p, context, |p, state| {
        let (parameter, kind) = parameter(p, key)?;
        let number = match kind {
            Kind::Number => int(value),
            Kind::Flag => value.as_bool().map(c_int::from),
            Kind::Strategy => value
                .as_atom()
                .and_then(|name| STRATEGIES.iter().position(|known| *known == name.name()))
                .map(|number| number as c_int),
        };
        let number = number.ok_or_else(|| bad(p, "invalid_value", value))?;
        // SAFETY: the context is live.
        let code = unsafe { z::ZSTD_CCtx_setParameter(state.codec.get(), parameter, number) };
        ok(p, code)
    })
}

#[bif("zstd:get_compress_parameter_nif/2", since = 28)]
fn get_compress_parameter(p: &mut Process, context: Term, key: Term) -> BifResult {
    compressing(p, context, |p, state| {
        let (parameter, kind) = parameter(p, key)?;
        let mut value = 0;
        // SAFETY: the context is live.
        let code =
            unsafe { z::ZSTD_CCtx_getParameter(state.codec.get(), parameter, &raw mut value) };
        check(p, code)?;
        Ok(match kind {
            Kind::Number => Term::small(value.into()),
            // OTP asks the code that the library returns, not the value.
            Kind::Flag => Term::bool(code != 0),
            Kind::Strategy => {
                let name = usize::try_from(value)
                    .ok()
                    .and_then(|at| STRATEGIES.get(at))
                    .ok_or(BifExit::BADARG)?;
                Term::atom(Atom::new(name))
            }
        })
    })
}

fn window_log_max(p: &mut Process, key: Term) -> Result<z::ZSTD_dParameter, BifExit> {
    if key.as_atom().is_some_and(|key| key.name() == "windowLogMax") {
        return Ok(z::ZSTD_dParameter::ZSTD_d_windowLogMax);
    }
    Err(bad(p, "invalid_key", key))
}

#[bif("zstd:set_decompress_parameter_nif/3", since = 28)]
fn set_decompress_parameter(p: &mut Process, context: Term, key: Term, value: Term) -> BifResult {
    decompressing(p, context, |p, state| {
        let value = int(value).ok_or(BifExit::BADARG)?;
        let parameter = window_log_max(p, key)?;
        // SAFETY: the context is live.
        let code = unsafe { z::ZSTD_DCtx_setParameter(state.codec.get(), parameter, value) };
        ok(p, code)
    })
}

#[bif("zstd:get_decompress_parameter_nif/2", since = 28)]
fn get_decompress_parameter(p: &mut Process, context: Term, key: Term) -> BifResult {
    decompressing(p, context, |p, state| {
        let parameter = window_log_max(p, key)?;
        let mut value = 0;
        // SAFETY: the context is live.
        let code =
            unsafe { z::ZSTD_DCtx_getParameter(state.codec.get(), parameter, &raw mut value) };
        check(p, code)?;
        Ok(Term::small(value.into()))
    })
}

#[bif("zstd:set_pledged_src_size_nif/2", since = 28)]
fn set_pledged_src_size(p: &mut Process, context: Term, size: Term) -> BifResult {
    compressing(p, context, |p, state| {
        let size = u64_of(size).ok_or(BifExit::BADARG)?;
        // SAFETY: the context is live.
        let code = unsafe { z::ZSTD_CCtx_setPledgedSrcSize(state.codec.get(), size) };
        ok(p, code)
    })
}

/// Feeds input to a codec until that is used up or the output is full, and says as `zstd` expects
/// it what came of it.
fn step(
    p: &mut Process,
    input_term: Term,
    flush: c_int,
    chunk_bytes: usize,
    mut codec: impl FnMut(&mut z::ZSTD_outBuffer, &mut z::ZSTD_inBuffer) -> usize,
) -> BifResult {
    let bits = whole_bytes(input_term)?;
    let bytes = bits.to_bytes();
    let mut chunk = Vec::<u8>::new();
    chunk.try_reserve_exact(chunk_bytes).map_err(|_| no_memory())?;
    chunk.resize(chunk_bytes, 0);
    let mut output =
        z::ZSTD_outBuffer { dst: chunk.as_mut_ptr().cast(), size: chunk.len(), pos: 0 };
    let mut input = z::ZSTD_inBuffer { src: bytes.as_ptr().cast(), size: bytes.len(), pos: 0 };
    let remaining = loop {
        let code = codec(&mut output, &mut input);
        let remaining = check(p, code)?;
        if input.pos >= input.size || output.pos >= output.size {
            break remaining;
        }
    };
    let (consumed, produced) = (input.pos, output.pos);
    p.bump_reductions((consumed / BYTES_PER_REDUCTION).max(1));
    let written = p.binary(&chunk[..produced]);
    let tag = match () {
        () if flush != 0 && consumed == bytes.len() => {
            if produced == chunk_bytes && remaining > 0 {
                atom!("flush")
            } else {
                atom!("done")
            }
        }
        () if consumed < bytes.len() => {
            let rest = p.part(input_term, consumed * 8, (bytes.len() - consumed) * 8);
            return Ok(p.tuple(&[Term::atom(atom!("continue")), rest, written]));
        }
        () => atom!("continue"),
    };
    Ok(p.tuple(&[Term::atom(tag), written]))
}

#[bif("zstd:compress_stream_nif/3", since = 28)]
fn compress_stream(p: &mut Process, context: Term, input: Term, flush: Term) -> BifResult {
    compressing(p, context, |p, state| {
        let flush = int(flush).ok_or(BifExit::BADARG)?;
        let directive = match flush {
            0 => z::ZSTD_EndDirective::ZSTD_e_continue,
            1 => z::ZSTD_EndDirective::ZSTD_e_flush,
            _ => z::ZSTD_EndDirective::ZSTD_e_end,
        };
        let codec = state.codec.get();
        // SAFETY: a constant of the library's.
        let chunk_bytes = unsafe { z::ZSTD_CStreamOutSize() };
        let result = step(p, input, flush, chunk_bytes, |output, input| {
            // SAFETY: the context is live, and the buffers hold for the call.
            unsafe { z::ZSTD_compressStream2(codec, output, input, directive) }
        });
        if result.is_err() {
            reset_compressor(state);
        }
        result
    })
}

#[bif("zstd:decompress_stream_nif/3", since = 28)]
fn decompress_stream(p: &mut Process, context: Term, input: Term, flush: Term) -> BifResult {
    decompressing(p, context, |p, state| {
        // SAFETY: a constant of the library's.
        let mut chunk_bytes = unsafe { z::ZSTD_DStreamOutSize() };
        if !state.in_use {
            let bytes = whole_bytes(input)?.to_bytes();
            // SAFETY: the bytes are live. Sizes that are not known are the largest numbers.
            let whole = unsafe { z::ZSTD_findDecompressedSize(bytes.as_ptr().cast(), bytes.len()) };
            chunk_bytes = chunk_bytes.min(usize::try_from(whole).unwrap_or(usize::MAX));
            state.in_use = true;
        }
        let flush = int(flush).ok_or(BifExit::BADARG)?;
        let codec = state.codec.get();
        let result = step(p, input, flush, chunk_bytes, |output, input| {
            // SAFETY: the context is live, and the buffers hold for the call.
            unsafe { z::ZSTD_decompressStream(codec, output, input) }
        });
        if result.is_err() {
            reset_decompressor(state);
        }
        result
    })
}
