//! Atoms: interned once, in a table that readers never lock.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock, RwLock};

/// An atom, as its position in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Atom(u32);

/// Places in the atom cache of a connection, in each direction, as in OTP's distribution protocol.
pub const CACHE_PLACES: usize = 2048;

/// A map by atoms. The table gives out their numbers, so that no program can choose them to
/// collide.
pub type AtomMap<V> = HashMap<Atom, V, BuildHasherDefault<NumberHasher>>;

/// A hash of numbers that programs do not choose, such as an atom's: multiplication spreads them
/// over the word.
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }
    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }
    #[inline]
    fn finish(&self) -> u64 {
        // What is multiplied spreads upwards only.
        self.0 ^ self.0 >> 32
    }
}

/// What the table holds of an atom.
struct Entry {
    /// The bytes of the name, and how many they are: a `&'static str` that is six bytes shorter.
    name: NonNull<u8>,
    name_len: u16,
    /// The first eight bytes of the name in one word, for ordering without the text.
    ordinal: u64,
    /// OTP's hash of the name, which `phash2` and the hash tries build on.
    hash: u32,
    /// Bytes of the name in Latin-1; [`NOT_LATIN1`] where it has other characters.
    latin1_len: u16,
    /// How many atoms had been made when this one was; [`NOT_MADE`] for a reserved name that
    /// nobody has made an atom of.
    made: AtomicU32,
}

/// Where the table has the ordinals of atoms ([`Atom::ordinal`]), for code that looks there itself.
/// Of a chunk's number, the address of the chunk is at `chunks`, eight bytes each.
#[derive(Clone, Copy, Debug)]
pub struct OrdinalTable {
    pub chunks: usize,
    /// Bits of an atom's number that count within its chunk.
    pub chunk_bits: u32,
    /// The binary logarithm of the bytes from one atom of a chunk to the next.
    pub entry_shift: u32,
    /// Bytes from there to the ordinal.
    pub offset: usize,
}

const NOT_LATIN1: u16 = u16::MAX;
const NOT_MADE: u32 = u32::MAX;
const _: () = assert!(NAME_CHARS_MAX < NOT_LATIN1 as usize && size_of::<Entry>() == 32);
const _: () = assert!(LIMIT_MAX < NOT_MADE as usize);

const CHUNK_BITS: u32 = 10;
const CHUNK_LEN: usize = 1 << CHUNK_BITS;
/// OTP's default limit (`+t`), and the highest that can be set.
pub const LIMIT_DEFAULT: usize = 1_048_576;
/// The highest limit that `+t` can set, and the size of the table of chunks.
pub const LIMIT_MAX: usize = 1 << 28;
/// Characters in an atom's name.
pub const NAME_CHARS_MAX: usize = 255;

static CHUNKS: [AtomicPtr<Entry>; LIMIT_MAX / CHUNK_LEN] =
    [const { AtomicPtr::new(std::ptr::null_mut()) }; LIMIT_MAX / CHUNK_LEN];
static LIMIT: AtomicUsize = AtomicUsize::new(LIMIT_DEFAULT);
/// Bytes of all names.
static NAME_BYTES: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Room for the atoms that OTP starts with and as many again, before the index has to grow: seven
/// eighths of 16,384 places.
const AT_START: usize = 14 * 1024;
static INDEX: LazyLock<RwLock<HashMap<&'static str, u32>>> = LazyLock::new(|| {
    let mut index = HashMap::with_capacity(AT_START);
    for (number, name) in atoms::NAMES.iter().enumerate() {
        let at = append(name, number as u32);
        assert_eq!(at as usize, number);
        assert!(index.insert(*name, at).is_none(), "atom listed twice: {name}");
    }
    RwLock::new(index)
});

/// Names that already have a number, but become atoms only when somebody makes them.
static RESERVED: OnceLock<HashMap<&'static str, u32, BuildHasherDefault<NameHasher>>> =
    OnceLock::new();

/// Hashes the reserved names. They come from a trusted file, so that nobody can choose them to
/// collide.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// Why a name cannot become an atom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomError {
    /// More than [`NAME_CHARS_MAX`] characters.
    TooLong,
    /// The table is full.
    TableFull,
}

/// Gives a name the next number. `made`: atoms made before it, or [`NOT_MADE`].
fn append(name: &'static str, made: u32) -> u32 {
    let number = COUNT.load(Ordering::Relaxed);
    let chunk = &CHUNKS[number as usize >> CHUNK_BITS];
    let mut base = chunk.load(Ordering::Relaxed);
    if base.is_null() {
        let fresh: Box<[std::mem::MaybeUninit<Entry>]> = Box::new_uninit_slice(CHUNK_LEN);
        base = Box::leak(fresh).as_mut_ptr().cast();
        chunk.store(base, Ordering::Release);
    }
    let latin1_len = if name.chars().all(|c| u32::from(c) < 256) {
        name.chars().count() as u16
    } else {
        NOT_LATIN1
    };
    let (ordinal, hash) = (ordinal(name), hash_name(name));
    let entry = Entry {
        name: NonNull::from(name.as_bytes()).cast(),
        name_len: name.len().try_into().expect("at most 255 characters"),
        ordinal,
        hash,
        latin1_len,
        made: made.into(),
    };
    // SAFETY: the slot is within the chunk, and only we write it (under the index's lock).
    unsafe { base.add(number as usize & (CHUNK_LEN - 1)).write(entry) };
    NAME_BYTES.fetch_add(name.len(), Ordering::Relaxed);
    COUNT.store(number + 1, Ordering::Release);
    number
}

/// OTP orders atoms by their UTF-8 bytes; the first eight of them order most pairs.
fn ordinal(name: &str) -> u64 {
    let mut first = [0; 8];
    let len = name.len().min(8);
    first[..len].copy_from_slice(&name.as_bytes()[..len]);
    u64::from_be_bytes(first)
}

/// The "hashpjw" of the name over its Latin-1 bytes where it has them, as OTP hashes atoms.
fn hash_name(name: &str) -> u32 {
    let mut hash: u32 = 0;
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let mut value = u32::from(bytes[at]);
        at += 1;
        // Two-byte sequences of Latin-1 characters count as the one byte that they were in Latin-1.
        if (value & 0xfe) == 0xc2 && at < bytes.len() && (u32::from(bytes[at]) & 0xc0) == 0x80 {
            value = (value << 6) | (u32::from(bytes[at]) & 0x3f);
            value &= 0xff;
            at += 1;
        }
        hash = (hash << 4).wrapping_add(value);
        let high = hash & 0xf000_0000;
        if high != 0 {
            hash ^= high >> 24;
            hash ^= high;
        }
    }
    hash
}

impl Atom {
    /// The atom of that name.
    /// # Panics
    /// When the name is too long: for names that our own code spells out. There is always room for
    /// those, whatever programs have made of the table.
    pub fn new(name: &str) -> Atom {
        Atom::intern(name, LIMIT_MAX)
            .unwrap_or_else(|error| panic!("cannot make the atom '{name}': {error:?}"))
    }

    /// The atom of that name, within the limit that programs have.
    ///
    /// # Errors
    /// When the name is too long or the table is full.
    pub fn try_new(name: &str) -> Result<Atom, AtomError> {
        Atom::intern(name, Atom::limit())
    }

    fn intern(name: &str, limit: usize) -> Result<Atom, AtomError> {
        if let Some(atom) = Atom::existing(name) {
            return Ok(atom);
        }
        if name.len() > NAME_CHARS_MAX && name.chars().count() > NAME_CHARS_MAX {
            return Err(AtomError::TooLong);
        }
        let mut index = INDEX.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(&number) = index.get(name) {
            return Ok(Atom(number));
        }
        if index.len() >= limit {
            return Err(AtomError::TableFull);
        }
        let made = index.len() as u32;
        let reserved = RESERVED.get().and_then(|reserved| reserved.get_key_value(name));
        let (name, number) = match reserved {
            Some((&name, &number)) => {
                Atom(number).entry().made.store(made, Ordering::Relaxed);
                (name, number)
            }
            None => {
                let name: &'static str = Box::leak(name.into());
                (name, append(name, made))
            }
        };
        index.insert(name, number);
        Ok(Atom(number))
    }

    /// Gives these names the numbers that follow the listed atoms, to be taken when somebody makes
    /// the atoms. `false` when it cannot be done: once other atoms exist, a second time, or with
    /// names that repeat or cannot be atoms.
    pub fn reserve(names: &[&'static str]) -> bool {
        let index = INDEX.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let listed = atoms::NAMES.len();
        let is_name = |name: &str| {
            (name.len() <= NAME_CHARS_MAX || name.chars().count() <= NAME_CHARS_MAX)
                && !index.contains_key(name)
        };
        let are_names = names.iter().all(|name| is_name(name));
        if COUNT.load(Ordering::Relaxed) as usize != listed || !are_names {
            return false;
        }
        let mut reserved =
            HashMap::with_capacity_and_hasher(names.len(), BuildHasherDefault::default());
        for (&name, number) in names.iter().zip(listed as u32..) {
            if reserved.insert(name, number).is_some() {
                return false;
            }
        }
        if RESERVED.set(reserved).is_err() {
            return false;
        }
        names.iter().for_each(|name| {
            append(name, NOT_MADE);
        });
        true
    }
    /// How many atoms the machine itself lists.
    pub fn listed() -> u32 {
        atoms::NAMES.len() as u32
    }
    /// The names of the atoms that follow the listed ones, up to a number.
    pub fn names_to(end: u32) -> Vec<&'static str> {
        (Atom::listed()..end).map(|number| Atom(number).name()).collect()
    }
    /// The atom with a number, if there is one.
    pub fn checked(number: u32) -> Option<Atom> {
        Atom::numbered(number).filter(|atom| atom.is_made())
    }
    /// The name with a number, if there is one: that of an atom, or a reserved one.
    pub fn numbered_name(number: u32) -> Option<&'static str> {
        Atom::numbered(number).map(Atom::name)
    }
    fn numbered(number: u32) -> Option<Atom> {
        LazyLock::force(&INDEX);
        (number < COUNT.load(Ordering::Acquire)).then_some(Atom(number))
    }
    fn is_made(self) -> bool {
        self.order_of_making() != NOT_MADE
    }
    /// How many atoms there were before this one was made: what an atom's number is in OTP.
    /// [`Atom::index`] tells nothing about that, since names may be reserved.
    pub fn order_of_making(self) -> u32 {
        self.entry().made.load(Ordering::Relaxed)
    }

    /// The atom of that name, if there is one already.
    pub fn existing(name: &str) -> Option<Atom> {
        INDEX
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(name)
            .map(|&number| Atom(number))
    }

    /// Position in the table of atoms, from 0: the atom's number in this run.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0
    }
    /// The atom's place in the caches of connections to other nodes, below [`CACHE_PLACES`].
    #[inline]
    pub const fn cache_place(self) -> usize {
        self.0 as usize % CACHE_PLACES
    }
    /// The atom with this number, which must have been made: [`Atom::checked`] asks.
    #[inline(always)]
    pub const fn from_index(index: u32) -> Atom {
        Atom(index)
    }

    #[inline]
    fn entry(self) -> &'static Entry {
        let mut base = CHUNKS[self.0 as usize >> CHUNK_BITS].load(Ordering::Acquire);
        if base.is_null() {
            base = self.first_chunk();
        }
        assert!(!base.is_null() && self.0 < COUNT.load(Ordering::Acquire), "no atom {}", self.0);
        // SAFETY: the entry was written before the count that covers it.
        unsafe { &*base.add(self.0 as usize & (CHUNK_LEN - 1)) }
    }

    /// The chunk of an atom that may be read before any was made: the listed ones are constants.
    #[cold]
    fn first_chunk(self) -> *mut Entry {
        LazyLock::force(&INDEX);
        CHUNKS[self.0 as usize >> CHUNK_BITS].load(Ordering::Acquire)
    }

    /// The name, UTF-8. Names are never freed.
    #[inline]
    pub fn name(self) -> &'static str {
        let Entry { name, name_len, .. } = self.entry();
        // SAFETY: `append` took both from a name that is never freed.
        unsafe {
            let bytes = std::slice::from_raw_parts(name.as_ptr(), usize::from(*name_len));
            std::str::from_utf8_unchecked(bytes)
        }
    }
    /// Bytes of the name in Latin-1, if it can be written so.
    #[inline]
    pub fn latin1_len(self) -> Option<usize> {
        let len = self.entry().latin1_len;
        (len != NOT_LATIN1).then_some(usize::from(len))
    }
    /// OTP's hash of the name.
    #[inline]
    pub fn hash_value(self) -> u32 {
        self.entry().hash
    }
    /// Where the ordinals of all atoms are that there are, and will be.
    pub fn ordinals() -> OrdinalTable {
        LazyLock::force(&INDEX);
        OrdinalTable {
            chunks: CHUNKS.as_ptr() as usize,
            chunk_bits: CHUNK_BITS,
            entry_shift: size_of::<Entry>().ilog2(),
            offset: std::mem::offset_of!(Entry, ordinal),
        }
    }

    /// The first eight bytes of the name as a big-endian number.
    #[inline]
    pub fn ordinal(self) -> u64 {
        self.entry().ordinal
    }

    /// How many atoms programs can make.
    pub fn limit() -> usize {
        LIMIT.load(Ordering::Relaxed)
    }
    /// Sets the limit, at most to [`LIMIT_MAX`].
    pub fn set_limit(limit: usize) {
        LIMIT.store(limit.min(LIMIT_MAX), Ordering::Relaxed);
    }
    /// Bytes of the table, and how many of them are in use.
    pub fn bytes() -> (usize, usize) {
        const INDEX_ENTRY: usize = size_of::<(&str, u32)>() + 1;
        let indexed = INDEX.read().unwrap_or_else(std::sync::PoisonError::into_inner).capacity();
        let (count, names) = (Atom::count(), NAME_BYTES.load(Ordering::Relaxed));
        let used = count * (size_of::<Entry>() + INDEX_ENTRY) + names;
        (
            count.next_multiple_of(CHUNK_LEN) * size_of::<Entry>() + indexed * INDEX_ENTRY + names,
            used,
        )
    }
    /// All atoms, in the order of their numbers. Takes no lock.
    pub fn all() -> impl Iterator<Item = Atom> {
        (0..COUNT.load(Ordering::Acquire)).map(Atom).filter(|atom| atom.is_made())
    }
    /// Atoms in the table.
    pub fn count() -> usize {
        INDEX.read().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }
}

impl std::fmt::Debug for Atom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
impl std::fmt::Display for Atom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The atom of a name written in the source, looked up once at each place of use.
#[macro_export]
macro_rules! atom {
    ($name:literal) => {{
        static CACHE: std::sync::OnceLock<$crate::Atom> = std::sync::OnceLock::new();
        *CACHE.get_or_init(|| $crate::Atom::new($name))
    }};
}

macro_rules! list_atoms {
    ($($constant:ident $name:literal)*) => {
        /// Atoms that the machine itself names, as constants.
        pub mod atoms {
            use super::Atom;
            pub(super) const NAMES: &[&str] = &[$($name),*];
            #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "positions in the list, named as the constants")]
            #[repr(u32)]
            enum Number { $($constant),* }
            $(#[doc = concat!("`", $name, "`")] pub const $constant: Atom = Atom(Number::$constant as u32);)*
        }
    };
}

list_atoms! {
    FALSE "false" TRUE "true" EMPTY "" UNDEFINED "undefined" OK "ok" ERROR "error" EXIT "exit" THROW "throw"
    BADARG "badarg" BADARITH "badarith" BADMATCH "badmatch" BADFUN "badfun" BADARITY "badarity" BADMAP "badmap"
    BADKEY "badkey" BADRECORD "badrecord" CASE_CLAUSE "case_clause" IF_CLAUSE "if_clause" TRY_CLAUSE "try_clause"
    FUNCTION_CLAUSE "function_clause" UNDEF "undef" NOCATCH "nocatch" SYSTEM_LIMIT "system_limit" NOPROC "noproc"
    NOTSUP "notsup" NOCONNECTION "noconnection" NORMAL "normal" KILL "kill" KILLED "killed" CAP_EXIT "EXIT" CAP_DOWN "DOWN"
    TIMEOUT "timeout" TIMEOUT_VALUE "timeout_value" INFINITY "infinity" ERLANG "erlang" ERROR_HANDLER "error_handler"
    UNDEFINED_FUNCTION "undefined_function" UNDEFINED_LAMBDA "undefined_lambda" INIT "init" BOOT "boot" START "start"
    PROCESS "process" PORT "port" TIME_OFFSET "time_offset" CLOCK_SERVICE "clock_service" NONODE "nonode@nohost"
    LINKS "links" MONITORS "monitors" MESSAGES "messages" HIGH "high" LOW "low" MAX "max" MIN "min"
    TRAP_EXIT "trap_exit" PRIORITY "priority" ERROR_INFO "error_info" MODULE "module" CAUSE "cause" ERL_ERTS_ERRORS "erl_erts_errors"
    ERL_STDLIB_ERRORS "erl_stdlib_errors" ERL_KERNEL_ERRORS "erl_kernel_errors" FILE "file" LINE "line" ASYNC "async" NIL_ATOM "nil"
    BADFILE "badfile" NOT_PURGED "not_purged" ON_LOAD "on_load" NOFILE "nofile" BUSY "busy" ACTIVE "active" AWAY "$$away" ALL "all" NONE "none"
    SECOND "second" MILLISECOND "millisecond" MICROSECOND "microsecond" NANOSECOND "nanosecond" NATIVE "native"
    SECONDS "seconds" MILLI_SECONDS "milli_seconds" MICRO_SECONDS "micro_seconds" NANO_SECONDS "nano_seconds" PERF_COUNTER "perf_counter"
    LOGGER "logger" LOG "log" DEMONITOR "demonitor" REPLY_DEMONITOR "reply_demonitor" EXPLICIT_UNALIAS "explicit_unalias" REPLY "reply" ALIAS "alias"
    TAG "tag" MONITOR "monitor" LINK "link" REGISTERED_NAME "registered_name" CURRENT_FUNCTION "current_function" UNKNOWN "unknown"
    EOF "eof" DATA "data" CONNECTED "connected" CLOSED "closed" CLOSE "close" COMMAND "command" CONNECT "connect"
    MODULE_INFO "module_info" APPLY "apply" CALL "call" UNDERSCORE "_" DOLLAR_UNDERSCORE "$_" DOUBLE_DOLLAR "$$"
    SMALL "small" LARGE "large" VALUE "value" BINARY "binary" LIST "list" MORE "more"
    INVALID "invalid" INCOMPLETE "incomplete" FUN "fun" NO_TABLE "no_table" NAME "name"
    RUNNING "running" RUNNABLE "runnable" WAITING "waiting" EXITING "exiting" SUSPENDED "suspended" GARBAGE_COLLECTING "garbage_collecting"
    FLUSH "flush" INFO "info" SET "set" ORDERED_SET "ordered_set" BAG "bag" DUPLICATE_BAG "duplicate_bag"
    PUBLIC "public" PROTECTED "protected" PRIVATE "private" BACKTRACE "backtrace" SPAWN_REPLY "spawn_reply" YES "yes" NO "no"
    CLASS_ "class" REASON "reason" STACKTRACE "stacktrace" PLUS "+" MINUS "-" TIMES "*" DIVIDE "/" DIV "div" REM "rem"
    BAND "band" BOR "bor" BXOR "bxor" BSL "bsl" BSR "bsr" BNOT "bnot" LINE_DELAY "line_delay"
    ENOENT "enoent" EINVAL "einval" END_OF_TABLE "$end_of_table" READ "read" WRITE "write" ERTS_INTERNAL "erts_internal"
    MAX_HEAP_SIZE "max_heap_size" SIZE "size" ERROR_LOGGER "error_logger" NEW "new"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interning_is_stable_and_ordered_by_use() {
        assert_eq!(Atom::new("true"), atoms::TRUE);
        assert_eq!(atoms::FALSE.index(), 0);
        let fresh = Atom::new("fresh atom of a test");
        assert_eq!(Atom::new("fresh atom of a test"), fresh);
        assert_eq!(fresh.name(), "fresh atom of a test");
        assert_eq!(Atom::existing("surely not interned by anybody"), None);
        assert_eq!(Atom::try_new(&"x".repeat(256)), Err(AtomError::TooLong));
    }
}
