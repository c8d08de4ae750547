//! Allocations that are refused on purpose, for `script/failing-allocations`.
//!
//! A *site* is where an allocation is asked for: the hash of the innermost return addresses, as
//! offsets in the program, so that it holds for one build. With `SWARMRT_ALLOCATION_SITES=FILE`
//! each site is noted in the file when it is first seen; with `SWARMRT_REFUSE_SITE=HASH` the first
//! allocation at a site is refused, and `SWARMRT_REFUSE_SHOW` has the place shown.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Return addresses that tell sites apart. Fewer would take all growing vectors for one site.
const FRAMES: usize = 8;
/// What belongs to this module and the allocator.
const FRAMES_SKIPPED: usize = 2;
const SITES_MAX: usize = 1 << 16;

enum Mode {
    Note(libc::c_int),
    Refuse(u64),
}

static MODE: OnceLock<Option<Mode>> = OnceLock::new();
static SEEN: [AtomicU64; SITES_MAX] = [const { AtomicU64::new(0) }; SITES_MAX];
static REFUSED: AtomicBool = AtomicBool::new(false);
/// Whether the place of a refusal is shown.
static SHOWN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Finding the site may allocate, too.
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// Reads the environment; before there are threads.
pub fn configure() {
    let note = std::env::var("SWARMRT_ALLOCATION_SITES").ok().and_then(|file| {
        let file = std::fs::File::create(file).ok()?;
        Some(Mode::Note(std::os::fd::IntoRawFd::into_raw_fd(file)))
    });
    let refuse = || {
        let site = std::env::var("SWARMRT_REFUSE_SITE").ok()?;
        u64::from_str_radix(&site, 16).ok().map(Mode::Refuse)
    };
    SHOWN.store(std::env::var_os("SWARMRT_REFUSE_SHOW").is_some(), Ordering::Relaxed);
    MODE.get_or_init(|| note.or_else(refuse));
}

/// Whether this allocation is to be refused.
pub fn refuses() -> bool {
    let Some(Some(mode)) = MODE.get() else { return false };
    if LOOKING.replace(true) {
        return false;
    }
    let refused = match *mode {
        Mode::Note(file) => {
            note(file, site());
            false
        }
        Mode::Refuse(wanted) => {
            let here = !REFUSED.load(Ordering::Relaxed) && site() == wanted;
            let refused = here && !REFUSED.swap(true, Ordering::Relaxed);
            if refused && SHOWN.load(Ordering::Relaxed) {
                eprintln!("refused at\n{:?}", backtrace::Backtrace::new());
            }
            refused
        }
    };
    LOOKING.set(false);
    refused
}

fn site() -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let base = configure as *const () as usize;
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut number = 0;
    let visit = |frame: &backtrace::Frame| {
        number += 1;
        if number > FRAMES_SKIPPED {
            hash = (hash ^ (frame.ip() as usize).wrapping_sub(base) as u64).wrapping_mul(PRIME);
        }
        number < FRAMES_SKIPPED + FRAMES
    };
    // SAFETY: symbols are not resolved, so that nothing is shared with other threads.
    unsafe { backtrace::trace_unsynchronized(visit) };
    hash.max(1)
}

fn note(file: libc::c_int, site: u64) {
    for step in 0..SITES_MAX {
        let place = &SEEN[(site as usize).wrapping_add(step) % SITES_MAX];
        match place.compare_exchange(0, site, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                let mut line = *b"0000000000000000\n";
                for (at, digit) in line[..16].iter_mut().enumerate() {
                    *digit = b"0123456789abcdef"[(site >> (60 - 4 * at)) as usize & 15];
                }
                // SAFETY: the line has so many bytes.
                unsafe { libc::write(file, line.as_ptr().cast(), line.len()) };
                return;
            }
            Err(there) if there == site => return,
            Err(_) => {}
        }
    }
}
