//! Built-ins whose work grows with their input must not keep a scheduler from other processes.
//!
//! Lists are walked a turn's elements at a time, and the built-in is called again with what is left
//! (see `lists`); maps are taken apart and built the same way (see `maps`). Everything else does a
//! little at once, which is all that most calls need; where there is more, it says [`Stop::Long`],
//! and is called again from the start on a dirty scheduler, where it may take its time. Nothing but
//! its arguments has to be carried over.

use smallvec::SmallVec;
use swarmrt_machine::schedule::current_scheduler;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Atom, Bits, Mfa, Term, am, atom, stop};

/// Steps that are taken at once: cells walked, terms visited, pieces appended. About half a
/// millisecond.
pub(crate) const QUICK_STEPS: usize = 50_000;
/// Bytes that are looked at one by one at once.
pub(crate) const QUICK_BYTES: usize = 256 << 10;
/// Bytes that are copied as they are at once.
pub(crate) const QUICK_COPY_BYTES: usize = 4 << 20;

/// Why a built-in has no result here.
pub(crate) enum Stop {
    /// It takes too long for a scheduler.
    Long,
    BifExit(BifExit),
}

impl From<BifExit> for Stop {
    fn from(raise: BifExit) -> Stop {
        Stop::BifExit(raise)
    }
}

impl From<crate::args::NotIodata> for Stop {
    fn from(_: crate::args::NotIodata) -> Stop {
        Stop::BifExit(BifExit::BADARG)
    }
}

/// Whether work may take long here: on dirty schedulers.
pub(crate) fn may_take_long() -> bool {
    current_scheduler().is_none()
}

/// Steps that may be taken here.
pub(crate) fn steps_here() -> usize {
    if may_take_long() { usize::MAX } else { QUICK_STEPS }
}

/// Counts steps down to the end of what may be done here. On a dirty scheduler they are steps of
/// [`stop`], which ends the work when the process is to end.
pub(crate) struct Steps(usize);

impl Steps {
    pub(crate) fn new() -> Steps {
        Steps(QUICK_STEPS)
    }
    #[inline]
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => self.out_of_steps(),
        }
    }
    #[cold]
    fn out_of_steps(&mut self) -> Result<(), Stop> {
        if !may_take_long() {
            return Err(Stop::Long);
        }
        stop::steps(QUICK_STEPS as u32);
        self.0 = QUICK_STEPS;
        Ok(())
    }
}

/// `Err` when that much is too much for here.
pub(crate) fn check(amount: usize, quick: usize) -> Result<(), Stop> {
    if amount <= quick || may_take_long() { Ok(()) } else { Err(Stop::Long) }
}

/// The failure of a call on a dirty scheduler, for the built-in itself to raise.
struct Failed(BifExit);

/// Does the work of the built-in `module:function` with these arguments, here or on a dirty
/// scheduler.
pub(crate) fn run(
    p: &mut Process,
    module: Atom,
    function: Atom,
    args: &[Term],
    work: impl FnOnce(&mut Process) -> Result<Term, Stop>,
) -> BifResult {
    match work(p) {
        Ok(value) => Ok(value),
        Err(Stop::BifExit(raise)) => Err(raise),
        Err(Stop::Long) => elsewhere(p, Mfa { module, function, arity: args.len() as u32 }, args),
    }
}

fn elsewhere(p: &mut Process, mfa: Mfa, args: &[Term]) -> BifResult {
    if let Some(state) = p.bif_state.take() {
        let Failed(raise) = *state.downcast::<Failed>().expect("a built-in finds its own state");
        return Err(raise);
    }
    let number = p.vm.bifs.number(mfa).expect("a built-in names itself");
    let mut all = vec![Term::small(i64::from(number))];
    all.extend_from_slice(args);
    let export = p.vm.code.export(Mfa {
        module: am::ERTS_INTERNAL,
        function: atom!("long_run"),
        arity: all.len() as u32,
    });
    p.trap(export, &all)
}

/// Calls a built-in where it may take its time. A failure is for the built-in itself to raise, so
/// that the stack trace tells its name and arguments.
fn long_run(p: &mut Process, number: Term, args: &[Term]) -> BifResult {
    // Programs that call this by its name get what they deserve, but no more.
    let number = number
        .as_small()
        .and_then(|number| u16::try_from(number).ok())
        .filter(|&number| p.vm.bifs.exists(number))
        .ok_or(BifExit::BADARG)?;
    let entry = p.vm.bifs.get(number);
    if usize::from(entry.arity) != args.len() {
        return Err(BifExit::BADARG);
    }
    let mfa = p.vm.bifs.mfa(number);
    match entry.call(p, args) {
        Err(raise)
            if matches!(raise, BifExit::Caused(_))
                || matches!(raise, BifExit::Error(reason) if reason.is_immediate()) =>
        {
            p.bif_state = Some(Box::new(Failed(raise)));
            let export = p.vm.code.export(mfa);
            p.trap(export, args)
        }
        result => result,
    }
}

#[bif("erts_internal:long_run/2", dirty_cpu, unlisted)]
fn long_run_1(p: &mut Process, number: Term, a: Term) -> BifResult {
    long_run(p, number, &[a])
}
#[bif("erts_internal:long_run/3", dirty_cpu, unlisted)]
fn long_run_2(p: &mut Process, number: Term, a: Term, b: Term) -> BifResult {
    long_run(p, number, &[a, b])
}
#[bif("erts_internal:long_run/4", dirty_cpu, unlisted)]
fn long_run_3(p: &mut Process, number: Term, a: Term, b: Term, c: Term) -> BifResult {
    long_run(p, number, &[a, b, c])
}

/// `Err` when there is more in the term than can be visited here, counting binaries by their bytes.
pub(crate) fn check_term(term: Term) -> Result<(), Stop> {
    if may_take_long() {
        return Ok(());
    }
    const BYTES_PER_STEP: usize = 8;
    let mut left = QUICK_STEPS;
    let mut pending: SmallVec<[Term; 16]> = SmallVec::new();
    let mut current = term;
    loop {
        while let Some(cell) = current.as_cons() {
            left = left.checked_sub(1).ok_or(Stop::Long)?;
            if cell.head().is_pointer() {
                pending.push(cell.head());
            }
            current = cell.tail();
        }
        if let Some(bits) = current.as_bits() {
            left = left.checked_sub(bits.bit_size / 8 / BYTES_PER_STEP + 1).ok_or(Stop::Long)?;
        } else if current.is_pointer() {
            let header = current.boxed_header();
            left = left.checked_sub(header.words() + 1).ok_or(Stop::Long)?;
            for index in header.raw_words() + 1..=header.words() {
                // SAFETY: the words after the raw ones are terms.
                let part = unsafe { Term::from_raw(*current.boxed_ptr().add(index)) };
                if part.is_pointer() {
                    pending.push(part);
                }
            }
        }
        match pending.pop() {
            Some(next) => current = next,
            None => return Ok(()),
        }
    }
}

/// `Err` when a binary has more bytes than can be looked at here.
pub(crate) fn check_bytes(term: Term) -> Result<(), Stop> {
    term.as_bits().map_or(Ok(()), |bits: Bits| check(bits.bit_size / 8, QUICK_BYTES))
}

/// The length of a proper list; `badarg` for anything else.
pub(crate) fn list_length(list: Term) -> Result<usize, Stop> {
    let unlimited = may_take_long();
    let (mut rest, mut length) = (list, 0);
    while let Some(cell) = rest.as_cons() {
        length += 1;
        if length > QUICK_STEPS && !unlimited {
            return Err(Stop::Long);
        }
        rest = cell.tail();
    }
    if rest.is_nil() { Ok(length) } else { Err(BifExit::BADARG.into()) }
}
