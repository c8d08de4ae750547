//! Checks that a subject is UTF-8, a turn's bytes at a time.

use super::pcre::{Code, follows_pcre8};
use super::{Start, run};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Bits, Mfa, Term, am, atom};

/// Bytes checked for which one reduction is counted, as in OTP.
const CHECKED_BYTES_PER_REDUCTION: usize = 10;
/// The longest sequence of bytes that stands for a character.
const CHARACTER_BYTES_MAX: usize = 4;

/// The built-in that a check belongs to: it is what an error names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    Run2,
    Run3,
    InternalRun4,
}

/// How far the check of a subject is. It waits in the process while others have their turn, so that
/// only what has been checked is ever taken for checked.
enum Check {
    /// The subject's bytes up to here are whole characters.
    UpTo(usize, Caller),
    /// The caller is to fail.
    Failed,
}

/// What a turn finds.
#[derive(PartialEq, Eq, Debug)]
enum Found {
    Valid,
    Invalid,
    /// The rest, from this byte on, is for the next turn.
    Next(usize),
}

/// Looks at up to `count` bytes from byte `start` on.
fn look(bits: Bits, start: usize, count: usize) -> Found {
    let end = bits.bit_size / 8;
    let stop = end.min(start.saturating_add(count.max(CHARACTER_BYTES_MAX)));
    let part = bits.slice(start * 8, (stop - start) * 8).to_bytes();
    match std::str::from_utf8(&part) {
        Ok(_) if stop == end => Found::Valid,
        Ok(_) => Found::Next(stop),
        // A character that the turn has cut in two.
        Err(error) if error.error_len().is_none() && stop < end => {
            Found::Next(start + error.valid_up_to())
        }
        Err(_) => Found::Invalid,
    }
}

/// Whether a character begins at byte `offset`; also where the subject has no such byte.
fn begins_character(bits: Bits, offset: usize) -> bool {
    offset >= bits.bit_size / 8 || bits.byte(offset) & 0xc0 != 0x80
}

/// Where the check of a subject begins: from OTP 28 on as many characters ahead of where the search
/// starts as the expression looks behind. What stands there is not looked at otherwise.
fn first_checked(bits: Bits, offset: usize, looks_behind: u32) -> usize {
    let mut first = offset.min(bits.bit_size / 8);
    for _ in 0..looks_behind {
        first = first.saturating_sub(1);
        while first > 0 && !begins_character(bits, first) {
            first -= 1;
        }
    }
    first
}

/// Checks what the search will look at of the subject, and that it does not start within a
/// character.
///
/// # Errors
/// `badarg`, or a trap where the turn is over before the check is.
pub fn check(
    p: &mut Process,
    [subject, expression, options]: [Term; 3],
    offset: usize,
    code: &Code,
    caller: Caller,
) -> Result<(), BifExit> {
    let bits = subject.as_bits().ok_or(BifExit::BADARG)?;
    let start = match p.bif_state.take() {
        None if follows_pcre8() => 0,
        None => first_checked(bits, offset, code.looks_behind),
        Some(state) => match *state.downcast::<Check>().expect("a built-in finds its own state") {
            Check::Failed => return Err(BifExit::BADARG),
            Check::UpTo(bytes, _) => bytes,
        },
    };
    let left = usize::try_from(p.reductions).unwrap_or(0);
    match look(bits, start, left * CHECKED_BYTES_PER_REDUCTION) {
        Found::Valid if begins_character(bits, offset) => {
            p.bump_reductions((bits.bit_size / 8 - start) / CHECKED_BYTES_PER_REDUCTION);
            Ok(())
        }
        Found::Valid | Found::Invalid => Err(BifExit::BADARG),
        Found::Next(next) => {
            p.bump_reductions(left);
            p.bif_state = Some(Box::new(Check::UpTo(next, caller)));
            let mfa = Mfa { module: am::ERLANG, function: atom!("re_run_trap"), arity: 3 };
            let export = p.vm.code.export(mfa);
            p.trap(export, &[subject, expression, options]).map(|_| ())
        }
    }
}

/// Goes on with `re:run` after others have had their turn.
#[bif("erlang:re_run_trap/3", unlisted)]
fn re_run_trap(p: &mut Process, subject: Term, expression: Term, options: Term) -> BifResult {
    let underway = p.bif_state.as_ref().and_then(|state| state.downcast_ref::<Check>());
    let Some(&Check::UpTo(_, caller)) = underway else { return Err(BifExit::BADARG) };
    let result = run(p, subject, expression, options, Start::Unchecked(caller));
    let Err(BifExit::Error(_)) = result else { return result };
    // The caller raises the error, so that the stack trace tells its name and arguments.
    p.bif_state = Some(Box::new(Check::Failed));
    let args = [subject, expression, options, Term::bool(true)];
    let (function, arity) = match caller {
        Caller::Run2 => (atom!("run"), 2),
        Caller::Run3 => (atom!("run"), 3),
        Caller::InternalRun4 => (atom!("internal_run"), 4),
    };
    let export = p.vm.code.export(Mfa { module: atom!("re"), function, arity: arity as u32 });
    p.trap(export, &args[..arity])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a check of these bytes is taken up, `count` bytes at a time; `None`: not UTF-8.
    fn turns(bytes: &[u8], count: usize) -> Option<usize> {
        let bits = Bits { base: bytes.as_ptr(), bit_offset: 0, bit_size: bytes.len() * 8 };
        let (mut start, mut turns) = (0, 1);
        loop {
            match look(bits, start, count) {
                Found::Valid => return Some(turns),
                Found::Invalid => return None,
                Found::Next(next) => {
                    assert!(next > start, "each turn gets on");
                    start = next;
                    turns += 1;
                }
            }
        }
    }

    #[test]
    fn characters_may_be_cut_by_turns() {
        let text = "a\u{e5}\u{20ac}\u{10348}".repeat(3);
        for count in 4..=text.len() {
            assert!(turns(text.as_bytes(), count).is_some(), "{count} bytes a turn");
        }
        assert_eq!(turns(text.as_bytes(), text.len()), Some(1));
        assert_eq!(turns(&[b'a'; 12], 4), Some(3));
    }

    #[test]
    fn what_is_looked_at_is_checked() {
        let bytes = "\u{20ac}\u{20ac}b".as_bytes();
        let bits = Bits { base: bytes.as_ptr(), bit_offset: 0, bit_size: bytes.len() * 8 };
        let firsts = |offset| [0, 1, 2, 3].map(|behind| first_checked(bits, offset, behind));
        assert_eq!(firsts(6), [6, 3, 0, 0]);
        assert_eq!(firsts(3), [3, 0, 0, 0]);
        assert_eq!(firsts(99), [7, 6, 3, 0], "no search starts there, but nothing else is wrong");
    }

    #[test]
    fn other_bytes_are_found_wherever_a_turn_ends() {
        for bad in
            [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"]
        {
            for before in 0..9 {
                for after in [0, 5] {
                    let bytes = [&vec![b'a'; before], bad, &vec![b'b'; after]].concat();
                    assert_eq!(turns(&bytes, 4), None, "{bytes:x?}");
                }
            }
        }
    }
}
