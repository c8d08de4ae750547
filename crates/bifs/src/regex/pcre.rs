//! PCRE2 behind a safe interface. Until OTP 28 it is set up to behave as the PCRE 8 that OTP
//! contained; from then on, OTP has PCRE2 itself.

use pcre2_sys as sys;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use swarmrt_term::release::{self, Release};

/// Options of `re:compile/2` that PCRE2 has under the same name.
pub mod compile_options {
    pub use pcre2_sys::{
        PCRE2_ANCHORED as ANCHORED, PCRE2_CASELESS as CASELESS,
        PCRE2_DOLLAR_ENDONLY as DOLLAR_ENDONLY, PCRE2_DOTALL as DOTALL, PCRE2_DUPNAMES as DUPNAMES,
        PCRE2_EXTENDED as EXTENDED, PCRE2_FIRSTLINE as FIRSTLINE, PCRE2_MULTILINE as MULTILINE,
        PCRE2_NEVER_UTF as NEVER_UTF, PCRE2_NO_AUTO_CAPTURE as NO_AUTO_CAPTURE,
        PCRE2_NO_START_OPTIMIZE as NO_START_OPTIMIZE, PCRE2_UCP as UCP, PCRE2_UNGREEDY as UNGREEDY,
        PCRE2_UTF as UTF,
    };
    /// All of these options; an encoded [`Spec`](super::Spec) may have no others.
    pub const ALL: u32 = ANCHORED
        | CASELESS
        | DOLLAR_ENDONLY
        | DOTALL
        | DUPNAMES
        | EXTENDED
        | FIRSTLINE
        | MULTILINE
        | NEVER_UTF
        | NO_AUTO_CAPTURE
        | NO_START_OPTIMIZE
        | UCP
        | UNGREEDY
        | UTF;
}

/// Options of `re:run/3`.
pub mod match_options {
    pub use pcre2_sys::{
        PCRE2_ANCHORED as ANCHORED, PCRE2_NO_UTF_CHECK as NO_UTF_CHECK, PCRE2_NOTBOL as NOTBOL,
        PCRE2_NOTEMPTY as NOTEMPTY, PCRE2_NOTEMPTY_ATSTART as NOTEMPTY_ATSTART,
        PCRE2_NOTEOL as NOTEOL,
    };
}

/// What counts as a line end, by PCRE2's numbers.
pub mod newline {
    /// A carriage return.
    pub const CR: u8 = pcre2_sys::PCRE2_NEWLINE_CR as u8;
    /// A line feed.
    pub const LF: u8 = pcre2_sys::PCRE2_NEWLINE_LF as u8;
    /// Both, in this order.
    pub const CRLF: u8 = pcre2_sys::PCRE2_NEWLINE_CRLF as u8;
    /// Any of Unicode's line ends.
    pub const ANY: u8 = pcre2_sys::PCRE2_NEWLINE_ANY as u8;
    /// One of the three above.
    pub const ANYCRLF: u8 = pcre2_sys::PCRE2_NEWLINE_ANYCRLF as u8;
    /// A zero byte (OTP 28 and later).
    pub const NUL: u8 = pcre2_sys::PCRE2_NEWLINE_NUL as u8;
}

/// What `\R` matches, by PCRE2's numbers.
pub mod bsr {
    /// Any of Unicode's line ends.
    pub const UNICODE: u8 = pcre2_sys::PCRE2_BSR_UNICODE as u8;
    /// A carriage return, a line feed, or both.
    pub const ANYCRLF: u8 = pcre2_sys::PCRE2_BSR_ANYCRLF as u8;
}

/// The library's version and its date, as in `10.42 2022-12-11`.
pub fn version() -> Vec<u8> {
    let mut text = [0; 64];
    // SAFETY: without a buffer the call tells the size, closing zero included; with one it fills
    // that many bytes.
    unsafe {
        let size = sys::pcre2_config_8(sys::PCRE2_CONFIG_VERSION, null_mut());
        assert!((1..=text.len() as i32).contains(&size), "the version of PCRE2 is short");
        sys::pcre2_config_8(sys::PCRE2_CONFIG_VERSION, text.as_mut_ptr().cast());
    }
    text.iter().copied().take_while(|&byte| byte != 0).collect()
}

/// Whether expressions mean what they mean to PCRE 8.
pub fn follows_pcre8() -> bool {
    release::current() < Release::R28
}

/// How deep groups may nest before OTP 28: as many capturing groups as PCRE 8's work space of 4096
/// bytes has room for.
const NESTED_MAX_PCRE8: u32 = 798;
/// How deep groups may nest from OTP 28: as many capturing groups as its limit of the compiler's
/// stack lets through.
const NESTED_MAX: u32 = 1179;

/// A regular expression and how to compile it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Spec {
    pub options: u32,
    pub newline: u8,
    pub bsr: u8,
    pub pattern: Vec<u8>,
}

/// The first bytes of an encoded [`Spec`].
const MAGIC: &[u8; 4] = b"SRre";

impl Spec {
    /// As the binary in an `re_pattern`: all that is needed to compile it again, wherever it has
    /// been since.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.options.to_be_bytes());
        bytes.extend_from_slice(&[self.newline, self.bsr]);
        bytes.extend_from_slice(&self.pattern);
        bytes
    }
    /// Characters above 127 are letters or not as the tables say, though a character may be several
    /// bytes.
    fn has_wide_letters(&self) -> bool {
        let is_wide =
            self.options & (compile_options::UTF | compile_options::UCP) == compile_options::UTF;
        is_wide && follows_pcre8()
    }
    /// Native code and interpreter disagree about such characters where `\w` is repeated.
    fn needs_interpreter(&self) -> bool {
        self.has_wide_letters()
            && self
                .pattern
                .windows(2)
                .any(|pair| pair[0] == b'\\' && matches!(pair[1], b'w' | b'W'))
    }
    /// Reads what [`encode`](Self::encode) has written. `None` for other bytes, such as those of an
    /// OTP.
    pub fn decode(bytes: &[u8]) -> Option<Spec> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (options, rest) = rest.split_first_chunk::<4>()?;
        let ([newline, bsr], pattern) = rest.split_first_chunk::<2>()?;
        let options = u32::from_be_bytes(*options);
        let valid = options & !compile_options::ALL == 0
            && (newline::CR..=newline::NUL).contains(newline)
            && (bsr::UNICODE..=bsr::ANYCRLF).contains(bsr);
        valid.then(|| Spec { options, newline: *newline, bsr: *bsr, pattern: pattern.to_vec() })
    }
}

/// A compiled regular expression.
pub struct Code {
    raw: *mut sys::pcre2_code_8,
    pub captures: u32,
    /// By the option, or by what the expression begins with, as `(*CRLF)`.
    pub newline: u8,
    pub bsr: u8,
    /// Subjects have to be UTF-8: by the option, or by what the expression begins with.
    pub is_utf: bool,
    /// Characters that it may look at ahead of where a search starts.
    pub looks_behind: u32,
    /// The named groups, by name; a name may stand for several.
    pub names: Vec<(Vec<u8>, u32)>,
}

// SAFETY: PCRE2 only reads compiled code.
unsafe impl Send for Code {}
// SAFETY: PCRE2 only reads compiled code.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: the code is ours, and nobody uses it any more.
        unsafe { sys::pcre2_code_free_8(self.raw) }
    }
}

/// Why a regular expression cannot be compiled: PCRE's text, and where in the expression.
pub struct CompileError {
    pub message: String,
    pub offset: usize,
}

impl Code {
    /// Compiles; to machine code as well when `to_native`.
    pub fn compile(spec: &Spec, to_native: bool) -> Result<Code, CompileError> {
        let follows_pcre8 = follows_pcre8();
        let (pattern, edits) = if follows_pcre8 {
            for_pcre2(&spec.pattern, spec.has_wide_letters())
        } else {
            (Cow::Borrowed(spec.pattern.as_slice()), Vec::new())
        };
        let (mut code, mut offset) = (0, 0);
        // SAFETY: the context is made, used and freed here; pattern and tables outlive the call,
        // the tables the code.
        let raw = unsafe {
            let context = sys::pcre2_compile_context_create_8(null_mut());
            assert!(!context.is_null(), "out of memory");
            sys::pcre2_set_newline_8(context, u32::from(spec.newline));
            sys::pcre2_set_bsr_8(context, u32::from(spec.bsr));
            let nested_max = if follows_pcre8 { NESTED_MAX_PCRE8 } else { NESTED_MAX };
            sys::pcre2_set_parens_nest_limit_8(context, nested_max);
            if follows_pcre8 {
                sys::pcre2_set_character_tables_8(context, latin1_tables().as_ptr());
                // PCRE 8 has `\K` anywhere, and looks behind by a fixed length only.
                let extra = sys::PCRE2_EXTRA_ALLOW_LOOKAROUND_BSK;
                sys::pcre2_set_compile_extra_options_8(context, extra);
                sys::pcre2_set_max_varlookbehind_8(context, 0);
            }
            let raw = sys::pcre2_compile_8(
                pattern.as_ptr(),
                pattern.len(),
                spec.options,
                &raw mut code,
                &raw mut offset,
                context,
            );
            sys::pcre2_compile_context_free_8(context);
            raw
        };
        if raw.is_null() && !follows_pcre8 {
            if let Some(message) = super::errors::later_message(code) {
                return Err(CompileError { message: message.to_owned(), offset: 0 });
            }
            let offset = super::errors::later_offset(code, &spec.pattern, offset);
            return Err(CompileError { message: own_message(code), offset });
        }
        if raw.is_null() {
            let shift: isize =
                edits.iter().filter(|edit| edit.at < offset).map(|edit| edit.shift).sum();
            let offset =
                super::errors::offset(code, &spec.pattern, offset.saturating_add_signed(-shift));
            return Err(CompileError {
                message: super::errors::message(code)
                    .map_or_else(|| own_message(code), str::to_owned),
                offset,
            });
        }
        if to_native && !spec.needs_interpreter() {
            // SAFETY: the code is ours alone. Where it cannot be done the code is interpreted.
            unsafe { sys::pcre2_jit_compile_8(raw, sys::PCRE2_JIT_COMPLETE) };
        }
        let mut result = Code {
            raw,
            captures: 0,
            newline: 0,
            bsr: 0,
            is_utf: false,
            looks_behind: 0,
            names: Vec::new(),
        };
        result.captures = result.info_u32(sys::PCRE2_INFO_CAPTURECOUNT);
        result.newline = result.info_u32(sys::PCRE2_INFO_NEWLINE) as u8;
        result.bsr = result.info_u32(sys::PCRE2_INFO_BSR) as u8;
        result.is_utf = result.info_u32(sys::PCRE2_INFO_ALLOPTIONS) & compile_options::UTF != 0;
        result.looks_behind = result.info_u32(sys::PCRE2_INFO_MAXLOOKBEHIND);
        result.names = result.read_names();
        Ok(result)
    }

    fn info_u32(&self, what: u32) -> u32 {
        let mut value: u32 = 0;
        // SAFETY: these kinds of information are 32-bit numbers.
        let result = unsafe { sys::pcre2_pattern_info_8(self.raw, what, (&raw mut value).cast()) };
        assert_eq!(result, 0, "compiled code tells about itself");
        value
    }

    fn read_names(&self) -> Vec<(Vec<u8>, u32)> {
        let count = self.info_u32(sys::PCRE2_INFO_NAMECOUNT) as usize;
        let size = self.info_u32(sys::PCRE2_INFO_NAMEENTRYSIZE) as usize;
        if count == 0 {
            return Vec::new();
        }
        let mut table: *const u8 = null();
        // SAFETY: the table has `count` entries of `size` bytes: a number of two bytes, and a name
        // that a zero ends.
        let table = unsafe {
            sys::pcre2_pattern_info_8(self.raw, sys::PCRE2_INFO_NAMETABLE, (&raw mut table).cast());
            std::slice::from_raw_parts(table, count * size)
        };
        let entry = |entry: &[u8]| {
            let name = entry[2..].split(|&byte| byte == 0).next().unwrap_or_default();
            (name.to_vec(), u32::from(entry[0]) << 8 | u32::from(entry[1]))
        };
        table.chunks(size).map(entry).collect()
    }
}

fn own_message(code: i32) -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the buffer has the size that is given.
    let length = unsafe { sys::pcre2_get_error_message_8(code, buffer.as_mut_ptr(), buffer.len()) };
    String::from_utf8_lossy(&buffer[..usize::try_from(length).unwrap_or(0)]).into_owned()
}

/// How far a match may go; `None` is PCRE's own limit.
#[derive(Clone, Copy, Default)]
pub struct Limits {
    pub matches: Option<u32>,
    pub depth: Option<u32>,
    /// Count as PCRE's interpreter does, not as native code.
    pub exact: bool,
}

/// Start and end of a group; `None` when it took no part in the match.
pub type Group = Option<(usize, usize)>;

/// How a match ended.
pub enum Outcome {
    /// The groups up to the last that took part.
    Match(Vec<Group>),
    NoMatch,
    MatchLimit,
    DepthLimit,
    BadSubject,
}

/// PCRE's memory for matching, one for each thread.
struct Scratch {
    data: *mut sys::pcre2_match_data_8,
    pairs: u32,
    context: *mut sys::pcre2_match_context_8,
    stack: *mut sys::pcre2_jit_stack_8,
}

const JIT_STACK_BYTES_MIN: usize = 32 * 1024;
const JIT_STACK_BYTES_MAX: usize = 1024 * 1024;
/// PCRE2's own limits, to go back to.
const MATCH_LIMIT: u32 = 10_000_000;

impl Scratch {
    fn new() -> Scratch {
        // SAFETY: freed when the thread ends; the stack outlives the context it is assigned to.
        unsafe {
            let context = sys::pcre2_match_context_create_8(null_mut());
            let stack =
                sys::pcre2_jit_stack_create_8(JIT_STACK_BYTES_MIN, JIT_STACK_BYTES_MAX, null_mut());
            assert!(!context.is_null(), "out of memory");
            if !stack.is_null() {
                sys::pcre2_jit_stack_assign_8(context, None, stack.cast());
            }
            Scratch { data: null_mut(), pairs: 0, context, stack }
        }
    }
    fn make_room(&mut self, pairs: u32) {
        if pairs > self.pairs {
            // SAFETY: the old one is ours, and freeing nothing is allowed.
            unsafe {
                sys::pcre2_match_data_free_8(self.data);
                self.pairs = pairs.max(16);
                self.data = sys::pcre2_match_data_create_8(self.pairs, null_mut());
            }
            assert!(!self.data.is_null(), "out of memory");
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: all three are ours.
        unsafe {
            sys::pcre2_match_data_free_8(self.data);
            sys::pcre2_match_context_free_8(self.context);
            sys::pcre2_jit_stack_free_8(self.stack);
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

impl Code {
    /// Matches `subject` from `start`, in bytes. `options` are those of [`match_options`].
    pub fn run(&self, subject: &[u8], start: usize, options: u32, limits: Limits) -> Outcome {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.make_room(self.captures + 1);
            let interpreted = if limits.exact { sys::PCRE2_NO_JIT } else { 0 };
            // SAFETY: code, memory and context are valid; the subject is as long as its length
            // says. That it is UTF-8 where that matters PCRE checks itself, or `subject::check` has.
            unsafe {
                sys::pcre2_set_match_limit_8(
                    scratch.context,
                    limits.matches.unwrap_or(MATCH_LIMIT),
                );
                sys::pcre2_set_depth_limit_8(scratch.context, limits.depth.unwrap_or(MATCH_LIMIT));
                let go = |options| {
                    sys::pcre2_match_8(
                        self.raw,
                        subject.as_ptr(),
                        subject.len(),
                        start,
                        options,
                        scratch.data,
                        scratch.context,
                    )
                };
                let mut result = go(options | interpreted);
                if result == sys::PCRE2_ERROR_JIT_STACKLIMIT {
                    result = go(options | sys::PCRE2_NO_JIT);
                }
                if result <= 0 {
                    return match result {
                        sys::PCRE2_ERROR_MATCHLIMIT => Outcome::MatchLimit,
                        sys::PCRE2_ERROR_DEPTHLIMIT
                        | sys::PCRE2_ERROR_HEAPLIMIT
                        | sys::PCRE2_ERROR_NOMEMORY => Outcome::DepthLimit,
                        sys::PCRE2_ERROR_BADOFFSET | sys::PCRE2_ERROR_BADUTFOFFSET => {
                            Outcome::BadSubject
                        }
                        _ if (sys::PCRE2_ERROR_UTF8_ERR21..=sys::PCRE2_ERROR_UTF8_ERR1)
                            .contains(&result) =>
                        {
                            Outcome::BadSubject
                        }
                        _ => Outcome::NoMatch,
                    };
                }
                let offsets = std::slice::from_raw_parts(
                    sys::pcre2_get_ovector_pointer_8(scratch.data),
                    result as usize * 2,
                );
                let group = |pair: &[usize]| (pair[0] != usize::MAX).then_some((pair[0], pair[1]));
                Outcome::Match(offsets.chunks_exact(2).map(group).collect())
            }
        })
    }
}

/// A change to an expression: bytes put in (or, if negative, left out) before a position of the
/// result.
struct Edit {
    at: usize,
    shift: isize,
}

/// Letters that mean themselves to PCRE 8 behind a backslash, and nothing to PCRE2.
fn is_plain_letter(byte: u8, in_class: bool) -> bool {
    b"FIJMOTYijmqy".contains(&byte) || in_class && b"ABCGKRXZz".contains(&byte)
}

/// Letters that stand for a kind of character behind a backslash.
fn is_kind_letter(byte: u8) -> bool {
    b"dDsSwWhHvV".contains(&byte)
}

/// An expression written for PCRE 8 as PCRE2 has to read it.
///
/// PCRE2 takes `{,3}` and `{ 1, 3 }` for quantifiers, which PCRE 8 takes for text. It refuses to
/// see a `j` in `\j`, a zero in `\x`, an 8 in `\8` where there are no eight groups, a hyphen in
/// `[\w-.]`, and a control character behind `\c`; and it knows `(*UTF)`, but not `(*UTF8)`.
/// `wide_letters`: a `\w` of PCRE2 is ASCII there unless it is in a class; to PCRE 8 it is only
/// where it is repeated.
fn for_pcre2(pattern: &[u8], wide_letters: bool) -> (Cow<'_, [u8]>, Vec<Edit>) {
    if !may_differ(pattern, wide_letters) {
        return (pattern.into(), Vec::new());
    }
    let result = Vec::with_capacity(pattern.len() + 8);
    let mut rewriter = Rewriter {
        wide_letters,
        result,
        edits: Vec::new(),
        in_class: false,
        in_head: true,
        groups: 0,
    };
    let mut rest = pattern;
    while !rest.is_empty() {
        rest = rewriter.next(rest);
    }
    (rewriter.result.into(), rewriter.edits)
}

/// Whether two bytes of the pattern may mean something else to PCRE2.
fn may_differ(pattern: &[u8], wide_letters: bool) -> bool {
    let has_class = pattern.contains(&b'[');
    let differs = |pair: &[u8]| match pair[0] {
        b'{' => matches!(pair[1], b',' | b' ' | b'\t'),
        b'\\' => {
            matches!(pair[1], b'x' | b'c' | b'8' | b'9')
                || is_plain_letter(pair[1], has_class)
                || wide_letters && matches!(pair[1], b'w' | b'W')
        }
        b' ' | b'\t' => matches!(pair[1], b'}' | b','),
        b'(' => pair[1] == b'*',
        b']' => pair[1] == b'-',
        kind => pair[1] == b'-' && is_kind_letter(kind),
    };
    pattern.windows(2).any(differs)
}

/// An expression that is being rewritten for PCRE2.
struct Rewriter {
    wide_letters: bool,
    result: Vec<u8>,
    edits: Vec<Edit>,
    in_class: bool,
    /// Whether only settings such as `(*CRLF)` have come so far.
    in_head: bool,
    /// Groups that capture, so far.
    groups: usize,
}

impl Rewriter {
    /// Writes the first item of what is left; what is left then.
    fn next<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let Some((&byte, next)) = rest.split_first() else { return rest };
        if let Some(after) = rest.strip_prefix(b"\\Q") {
            let length = memchr::memmem::find(after, b"\\E").map_or(rest.len(), |at| at + 4);
            return self.copy(rest, length);
        }
        if byte == b'\\' && !next.is_empty() {
            return self.escape(next);
        }
        if self.in_class
            && rest.starts_with(b"[:")
            && let Some(end) = memchr::memmem::find(rest, b":]")
        {
            let rest = self.copy(rest, end + 2);
            return self.hyphen(rest);
        }
        self.in_head &= rest.starts_with(b"(*")
            || self.result.last().is_some_and(|&last| last != b')') && !self.result.is_empty();
        if self.in_head && rest.starts_with(b"(*UTF8)") {
            self.edits.push(Edit { at: self.result.len() + 5, shift: -1 });
            self.result.extend_from_slice(b"(*UTF)");
            return &rest[7..];
        }
        match byte {
            b'[' if !self.in_class => {
                self.in_class = true;
                // A bracket that comes first is one of the characters.
                let first =
                    if next.starts_with(b"^]") { 2 } else { usize::from(next.starts_with(b"]")) };
                return self.copy(rest, first + 1);
            }
            b']' => self.in_class = false,
            b'(' if !self.in_class && captures(next) => self.groups += 1,
            b'{' if !self.in_class && is_new_quantifier(next) => self.put(b"\\", 1),
            _ => {}
        }
        self.copy(rest, 1)
    }

    /// Writes what stands behind a backslash, and the backslash where there is to be one.
    fn escape<'a>(&mut self, escaped: &'a [u8]) -> &'a [u8] {
        let (letter, rest) = (escaped[0], &escaped[1..]);
        if letter == b'c'
            && let [control @ (0..=31 | 127), rest @ ..] = rest
        {
            let code = format!("\\x{:02x}", control ^ 0x40);
            self.put(code.as_bytes(), code.len() as isize - 3);
            return rest;
        }
        let is_plain_digit = !self.in_class
            && matches!(letter, b'8' | b'9')
            && leading_number(escaped) > self.groups;
        let follows = |letters: &[u8]| rest.first().is_some_and(|next| letters.contains(next));
        if is_plain_digit || is_plain_letter(letter, self.in_class) {
            self.put(&[letter], -1);
        } else if letter == b'x' && !follows(b"0123456789abcdefABCDEF{") {
            self.put(b"\\x00", 2);
        } else if self.wide_letters
            && !self.in_class
            && matches!(letter, b'w' | b'W')
            && !follows(b"*+?{")
        {
            let class: &[u8] = if letter == b'w' { b"[\\w]" } else { b"[^\\w]" };
            self.put(class, class.len() as isize - 2);
        } else {
            self.result.extend_from_slice(&[b'\\', letter]);
        }
        if self.in_class && is_kind_letter(letter) { self.hyphen(rest) } else { rest }
    }

    /// A hyphen behind a kind of character is one of the characters, whatever follows it.
    fn hyphen<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        if !rest.starts_with(b"-") || rest.starts_with(b"-]") {
            return rest;
        }
        self.put(b"\\-", 1);
        &rest[1..]
    }

    /// Writes bytes of which `shift` are put in.
    fn put(&mut self, bytes: &[u8], shift: isize) {
        self.edits.push(Edit { at: self.result.len(), shift });
        self.result.extend_from_slice(bytes);
    }

    /// Copies the first bytes; what is left.
    fn copy<'a>(&mut self, rest: &'a [u8], count: usize) -> &'a [u8] {
        self.result.extend_from_slice(&rest[..count]);
        &rest[count..]
    }
}

fn leading_number(digits: &[u8]) -> usize {
    digits.iter().take_while(|digit| digit.is_ascii_digit()).fold(0, |number, digit| {
        number.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    })
}

/// Whether the parenthesis before is that of a capturing group.
fn captures(after: &[u8]) -> bool {
    match after {
        [b'*', ..] => false,
        [b'?', b'P', b'<', ..] | [b'?', b'\'', ..] => true,
        [b'?', b'<', kind, ..] => !matches!(kind, b'=' | b'!'),
        [b'?', ..] => false,
        _ => true,
    }
}

/// Whether what follows a `{` is a quantifier to PCRE2 and none to PCRE 8.
fn is_new_quantifier(after: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'}', after) else { return false };
    let inner = &after[..end];
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let number = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    let mut parts = inner.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let (low, high, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let digits = number(low)
        && high.is_none_or(number)
        && more.is_none()
        && (!low.is_empty() || high.is_some_and(|high| !high.is_empty()));
    digits && (low.is_empty() || inner.iter().any(blank))
}

const TABLE_CLASSES: usize = 512;
const TABLE_TYPES: usize = 832;
const TABLES_BYTES: usize = 1088;

/// Character tables of ISO 8859-1, which is what a byte means to `re` without `unicode`: lower
/// case, other case, ten sets of characters, and the kinds of each character.
fn latin1_tables() -> &'static [u8; TABLES_BYTES] {
    static TABLES: OnceLock<[u8; TABLES_BYTES]> = OnceLock::new();
    TABLES.get_or_init(|| {
        let upper = |c: u8| c.is_ascii_uppercase() || matches!(c, 192..=214 | 216..=222);
        let lower =
            |c: u8| c.is_ascii_lowercase() || matches!(c, 170 | 181 | 186 | 223..=246 | 248..=255);
        let has_upper = |c: u8| lower(c) && !matches!(c, 170 | 181 | 186 | 223 | 255);
        let space = |c: u8| matches!(c, 9..=13 | 32);
        let word = |c: u8| upper(c) || lower(c) || c.is_ascii_digit() || c == b'_';
        let graph = |c: u8| matches!(c, 33..=126 | 160..=255);
        let mut tables = [0; TABLES_BYTES];
        for c in 0..=255u8 {
            let at = usize::from(c);
            tables[at] = if upper(c) { c + 32 } else { c };
            tables[256 + at] = if upper(c) {
                c + 32
            } else if has_upper(c) {
                c - 32
            } else {
                c
            };
            let sets = [
                space(c),
                c.is_ascii_hexdigit(),
                c.is_ascii_digit(),
                upper(c),
                lower(c),
                word(c),
                graph(c),
                graph(c) || c == b' ',
                graph(c) && (!word(c) || c == b'_'),
                matches!(c, 0..=31 | 127..=159),
            ];
            for (set, _) in sets.iter().enumerate().filter(|(_, member)| **member) {
                tables[TABLE_CLASSES + set * 32 + at / 8] |= 1 << (at % 8);
            }
            let kinds = [space(c), upper(c) || lower(c), lower(c), c.is_ascii_digit(), word(c)];
            tables[TABLE_TYPES + at] =
                kinds.iter().enumerate().map(|(bit, &is)| u8::from(is) << bit).sum();
        }
        tables
    })
}
