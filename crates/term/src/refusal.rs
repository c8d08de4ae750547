//! What happens when there is no memory: the machine ends, unless the thread that asks says that it
//! handles a refusal.

use std::cell::Cell;
use std::sync::OnceLock;

thread_local! {
    static HANDLED: Cell<bool> = const { Cell::new(false) };
}

/// Ends the program because an allocation of `bytes` bytes was refused.
pub type End = fn(bytes: usize) -> !;

static END: OnceLock<End> = OnceLock::new();

/// Says how the program ends; the first one counts.
pub fn set_end(end: End) {
    END.get_or_init(|| end);
}

/// Ends the program for want of memory, as [`set_end`] said; else by an abort.
#[cold]
pub fn end(bytes: usize) -> ! {
    match END.get() {
        Some(end) => end(bytes),
        None => std::process::abort(),
    }
}

/// Runs `allocate`, which handles it when memory is refused: by a null pointer, or an error of
/// `try_reserve`.
#[inline]
pub fn handled<R>(allocate: impl FnOnce() -> R) -> R {
    let before = HANDLED.replace(true);
    let result = allocate();
    HANDLED.set(before);
    result
}

/// Whether a refusal is handled on this thread now.
#[must_use]
pub fn is_handled() -> bool {
    HANDLED.get()
}
