//! The stack of a process as text, as `process_info(Pid, backtrace)` and crash dumps of OTP show
//! it.

use std::io::Write;
use swarmrt_machine::{BifResult, Process, bif};
use swarmrt_term::{Alloc, Term, am, atom, print};

/// A word of a stack.
pub(crate) enum Slot {
    /// An address in code that a call goes back to.
    Return {
        at: usize,
        address: usize,
    },
    /// Where an exception goes on.
    Catch(usize),
    Value(Term),
}

/// Visits the stack's words, innermost first.
pub(crate) fn each_slot(process: &Process, mut visit: impl FnMut(Slot)) {
    let mut at = process.heap.stop.cast_const();
    while at < process.heap.stack_base().cast_const() {
        // SAFETY: between the stack pointer and its base stand terms, catch marks and return
        // addresses.
        let word = unsafe { *at };
        let slot = if word & 0b111 == 0 {
            Slot::Return { at: at as usize, address: word as usize }
        } else {
            // SAFETY: no address, hence a term.
            let term = unsafe { Term::from_raw(word) };
            term.as_catch_mark().map_or(Slot::Value(term), |handler| Slot::Catch(handler as usize))
        };
        visit(slot);
        // SAFETY: `at` is below the base of the stack, so the next word is at most the base.
        at = unsafe { at.add(1) };
    }
}

/// `m:f/1 + 32`: the function and how many bytes into it.
pub(crate) fn place(process: &Process, address: usize) -> String {
    let code = &process.vm.code;
    if address == code.process_end() as usize {
        return "<terminate process normally>".to_owned();
    }
    let Some(module) = code.module_at(address) else { return "unknown function".to_owned() };
    let Some(location) = module.locate(address) else { return "unknown function".to_owned() };
    let instruction = (address - module.range().start) / size_of::<swarmrt_beam::instr::Instr>();
    let start =
        module.function_at(instruction as u32).map_or(0, |function| function.start as usize);
    let offset = (instruction - start) * size_of::<swarmrt_beam::instr::Instr>();
    let mut name = Vec::new();
    print::print_atom(location.mfa.module.name(), &mut name);
    name.push(b':');
    print::print_atom(location.mfa.function.name(), &mut name);
    format!("{}/{} + {offset}", String::from_utf8_lossy(&name), location.mfa.arity)
}

/// The whole stack.
pub(crate) fn text(process: &Process) -> Vec<u8> {
    let mut out = Vec::new();
    // The stack holds data.
    if process.extra.as_ref().is_some_and(|extra| extra.sensitive) {
        return out;
    }
    let ip = process.ip as usize;
    // Writing to memory cannot fail.
    let _ = writeln!(out, "Program counter: 0x{ip:016x} ({})", place(process, ip));
    let mut number = 0;
    each_slot(process, |slot| {
        if let Slot::Return { at, address } = slot {
            let _ = writeln!(
                out,
                "\n0x{at:016x} Return addr 0x{address:016x} ({})",
                place(process, address)
            );
            number = 0;
            return;
        }
        let _ = write!(out, "{:<8} ", format!("y({number})"));
        match slot {
            Slot::Catch(handler) => {
                let _ = write!(out, "Catch 0x{handler:016x} ({})", place(process, handler));
            }
            Slot::Value(term) => out.extend(print::print(term)),
            Slot::Return { .. } => unreachable!("handled above"),
        }
        out.push(b'\n');
        number += 1;
    });
    out
}

/// The process as a section of a crash dump of OTP, with its stack as text: what the process itself
/// can tell. `state` is the word for what it does.
pub(crate) fn dump(process: &Process, state: &str) -> Vec<u8> {
    let mut out = dump_without_stack(process, state);
    out.extend_from_slice(b"Stack dump:\n");
    out.extend_from_slice(&text(process));
    out
}

/// The process as a section of a crash dump, without its stack, which has a section of its own in a
/// file.
pub(crate) fn dump_without_stack(process: &Process, state: &str) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to memory cannot fail.
    let _ = write_dump(process, state, &mut out);
    out
}

fn write_dump(process: &Process, state: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
    let shown = |term: Term| print::display(term).to_string();
    let heap = &process.heap;
    writeln!(out, "=proc:{}\nState: {state}", shown(process.pid()))?;
    if let Some(name) = process.registered {
        writeln!(out, "Name: {}", shown(Term::atom(name)))?;
    }
    let initial = process.initial;
    writeln!(
        out,
        "Spawned as: {}:{}/{}",
        shown(Term::atom(initial.module)),
        shown(Term::atom(initial.function)),
        initial.arity
    )?;
    let parent = if process.parent.is_none() { Term::NIL } else { process.parent };
    writeln!(
        out,
        "Spawned by: {}\nMessage queue length: {}",
        shown(parent),
        process.mailbox.len()
    )?;
    writeln!(out, "Heap fragment data: {}", heap.fragment_words())?;
    // SAFETY: links are kept as the words of pids and ports.
    let links: Vec<String> =
        process.relations.links.keys().map(|raw| shown(unsafe { Term::from_raw(raw) })).collect();
    if !links.is_empty() {
        writeln!(out, "Link list: [{}]", links.join(", "))?;
    }
    writeln!(out, "Reductions: {}\nStack+heap: {}", process.total_reductions, heap.block_words())?;
    writeln!(out, "OldHeap: {}", heap.old_words())?;
    writeln!(
        out,
        "Heap unused: {}",
        heap.block_words().saturating_sub(heap.used_words() + heap.stack_words())
    )?;
    writeln!(out, "OldHeap unused: {}", heap.old_words() - heap.old_used_words())?;
    writeln!(out, "Memory: {}", heap.total_words() * 8)
}

/// Writes the stack of a process to standard error.
#[bif("erts_internal:process_display/2")]
fn process_display(p: &mut Process, pid: Term, what: Term) -> BifResult {
    if what != Term::atom(atom!("backtrace")) {
        return Ok(Term::atom(atom!("badopt")));
    }
    let Some(pid) = pid.as_pid() else { return Ok(Term::atom(am::BADARG)) };
    let show = |process: &mut Process| {
        // Standard error may be closed.
        let _ = std::io::stderr().write_all(&text(process));
        Term::bool(true)
    };
    if pid == p.id() {
        Ok(show(p))
    } else {
        crate::process::ask(p, pid, show, Term::atom(am::BADARG))
    }
}

/// The process as `{process_dump}` of a trace specification shows it.
pub(crate) fn process_dump(p: &mut Process) -> Term {
    let text = dump(p, "Running");
    p.binary(&text)
}
