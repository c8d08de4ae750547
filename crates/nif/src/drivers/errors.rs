//! The errors of `erl_ddll` that are no atoms, and the texts of all of them.

use parking_lot::Mutex;
use swarmrt_term::{Alloc, Term, atom};

/// What the dynamic linker has said, by the numbers that stand for it in errors.
static LINKER: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The number of the first text of the dynamic linker. They go down from there.
const FIRST: i64 = -10;

/// Where the errors with a number (0 and down) begin in [`TEXTS`].
const NUMBERED: usize = 9;

const TEXTS: [(&str, &str); 18] = [
    (
        "inconsistent",
        "Driver name and/or driver options are inconsistent with currently loaded driver",
    ),
    ("linked_in_driver", "Driver is statically linked and cannot be loaded/unloaded"),
    ("permanent", "DDLL driver is permanent an cannot be unloaded/loaded"),
    ("not_loaded", "DDLL driver is not loaded"),
    ("not_loaded_by_this_process", "DDLL driver was not loaded by this process"),
    ("not_pending", "DDLL load not pending for this driver name"),
    ("already_loaded", "DDLL driver is already loaded successfully"),
    ("pending_reload", "Driver reloading is already pending"),
    (
        "pending_process",
        "Driver is loaded by others when attempting option {reload, pending_driver}",
    ),
    ("no_error", "No error"),
    ("no_driver_init", "No driver init in dynamic library"),
    ("driver_init_failed", "Driver init failed"),
    ("bad_driver_name", "Bad driver name"),
    ("driver_name_to_long", "Driver name to long"),
    ("driver_incorrect_version", "Driver compiled with incorrect version of erl_driver.h"),
    ("no_ddll_available", "DDLL functionality not available on this platform"),
    ("unspecified_error", "Unspecified dynamic library error"),
    ("symbol_not_found", "Symbol not found in dynamic library"),
];

/// `{open_error, Number}`, with the number that stands for the text.
pub fn numbered(heap: &mut impl Alloc, text: &str) -> Term {
    let mut texts = LINKER.lock();
    let at = texts.iter().position(|known| known == text).unwrap_or_else(|| {
        texts.push(text.to_owned());
        texts.len() - 1
    });
    drop(texts);
    heap.tuple(&[Term::atom(atom!("open_error")), Term::small(FIRST - at as i64)])
}

/// The text for an error, if it is one.
pub fn text_of(error: Term) -> Option<String> {
    if let Some(name) = error.as_atom() {
        let known = TEXTS.iter().find(|(known, _)| *known == name.name());
        return known.map(|(_, text)| (*text).to_owned());
    }
    let pair = error.as_tuple().filter(|pair| pair.arity() == 2)?;
    let is_open_error = pair.get(0) == Term::atom(atom!("open_error"));
    let number = pair.get(1).as_small().filter(|_| is_open_error)?;
    let Ok(at) = usize::try_from(FIRST - number) else {
        let own = usize::try_from(-number).ok().and_then(|at| TEXTS.get(NUMBERED + at));
        return Some(own.map_or("Unspecified error", |(_, text)| text).to_owned());
    };
    let known = LINKER.lock().get(at).cloned();
    Some(known.unwrap_or_else(|| "Unknown dlload error".to_owned()))
}
