//! Exceptions: class, reason, and a stack trace that is gathered as addresses and made readable
//! only on demand.

#[cfg(all(test, not(loom)))]
mod tests;

use crate::bif::BifExit;
use crate::code::Located;
use crate::process::{Ended, MaxHeapSize, Process};
use crate::signal;
use smallvec::SmallVec;
use std::io::Write;
use std::sync::{Arc, LazyLock};
use swarmrt_heap::LiteralArea;
use swarmrt_term::alloc::ListBuilder;
use swarmrt_term::{Alloc, Atom, FragmentHeap, Mfa, Term, am, atom, map};

/// Return addresses kept in a stack trace (OTP's default `backtrace_depth`).
pub const BACKTRACE_DEPTH: usize = 8;

/// The exception under way, or the reason for which a process ends.
pub struct Exception {
    pub class: Atom,
    pub reason: Term,
    /// Raw form: {class, readable first entries, addresses}; or a readable list.
    pub trace: Term,
}

impl Default for Exception {
    fn default() -> Self {
        Exception { class: am::ERROR, reason: Term::NIL, trace: Term::NIL }
    }
}

/// The entry at the top of the stack trace, above the code that was running.
pub enum Top<'a> {
    Nothing,
    /// A built-in called with these arguments; `is_running` when the code that was running is
    /// nothing but its body.
    Bif {
        mfa: Mfa,
        args: &'a [Term],
        is_running: bool,
    },
    /// A function that no clause of matched, or that does not exist, with its arguments.
    Function {
        mfa: Mfa,
        args: &'a [Term],
    },
}

/// Who explains the errors of a module's built-ins.
struct Explained {
    module: Atom,
    /// The module with the explanations (`format_error/2`).
    by: Atom,
    /// `[{error_info, #{module => By}}]`, a literal.
    info: Term,
}

/// Who explains the errors of a module's built-ins; `None` for natives of other modules.
fn error_module(module: Atom) -> Option<&'static Explained> {
    /// The entries, and where their literals are.
    static EXPLAINED: LazyLock<(Vec<Explained>, LiteralArea)> = LazyLock::new(|| {
        let mut literals = LiteralArea::new();
        let explained = [
            (am::ERLANG, am::ERL_ERTS_ERRORS),
            (atom!("ets"), am::ERL_STDLIB_ERRORS),
            (atom!("erts_internal"), am::ERL_ERTS_ERRORS),
            (atom!("atomics"), am::ERL_ERTS_ERRORS),
            (atom!("counters"), am::ERL_ERTS_ERRORS),
            (atom!("persistent_term"), am::ERL_ERTS_ERRORS),
            (atom!("os"), am::ERL_KERNEL_ERRORS),
            (atom!("code"), am::ERL_KERNEL_ERRORS),
            (atom!("binary"), am::ERL_STDLIB_ERRORS),
            (atom!("io"), am::ERL_STDLIB_ERRORS),
            (atom!("lists"), am::ERL_STDLIB_ERRORS),
            (atom!("maps"), am::ERL_STDLIB_ERRORS),
            (atom!("math"), am::ERL_STDLIB_ERRORS),
            (atom!("re"), am::ERL_STDLIB_ERRORS),
            (atom!("unicode"), am::ERL_STDLIB_ERRORS),
        ];
        let explained = explained.map(|(module, by)| Explained {
            module,
            by,
            info: info_of_error(&mut literals, &[(am::MODULE, Term::atom(by))]),
        });
        (explained.into(), literals)
    });
    EXPLAINED.0.iter().find(|explained| explained.module == module)
}

/// `[{error_info, Map}]`, with these pairs.
fn info_of_error(alloc: &mut impl Alloc, pairs: &[(Atom, Term)]) -> Term {
    let pairs: SmallVec<[_; 2]> =
        pairs.iter().map(|&(key, value)| (Term::atom(key), value)).collect();
    let map = map::from_pairs(alloc, &pairs);
    let info = alloc.tuple(&[Term::atom(am::ERROR_INFO), map]);
    alloc.cons(info, Term::NIL)
}

/// A file, and its name as a list.
struct NamedFile {
    file: Arc<str>,
    name: Term,
}

impl Process {
    /// Sets the exception from what a built-in or an instruction raised. `ip` is the instruction.
    pub fn set_exception(&mut self, raise: BifExit, top: Top<'_>, ip: usize) {
        let mut cause = None;
        let mut explained = true;
        match raise {
            BifExit::Error(reason) => {
                (self.exception.class, self.exception.reason) = (am::ERROR, reason);
            }
            BifExit::Caused(why) => {
                (self.exception.class, self.exception.reason) = (am::ERROR, Term::atom(am::BADARG));
                cause = Some(Term::atom(why));
            }
            BifExit::WithoutTop(reason) => {
                (self.exception.class, self.exception.reason, explained) =
                    (am::ERROR, reason, false);
            }
            BifExit::Exit(reason) => {
                (self.exception.class, self.exception.reason, explained) =
                    (am::EXIT, reason, false);
            }
            BifExit::Throw(reason) => {
                (self.exception.class, self.exception.reason, explained) =
                    (am::THROW, reason, false);
            }
            BifExit::WithTrace { class, reason, trace } => {
                // A trace carries its class for when the exception is raised again.
                let trace = match trace.as_tuple().filter(|raw| raw.arity() == 3) {
                    Some(raw) if raw.get(0) == Term::atom(class) => trace,
                    Some(raw) => self.tuple(&[Term::atom(class), raw.get(1), raw.get(2)]),
                    None => self.tuple(&[Term::atom(class), trace, Term::NIL]),
                };
                self.exception = Exception { class, reason, trace };
                return;
            }
            BifExit::WithArgs { reason, args, option } => {
                (self.exception.class, self.exception.reason) = (am::ERROR, reason);
                self.exception.trace = self.trace_with_args(args, option, ip);
                return;
            }
            other => unreachable!("{other:?} is not an exception"),
        }
        let entries = match top {
            Top::Nothing => Term::NIL,
            Top::Bif { .. } if !explained => Term::NIL,
            Top::Bif { mfa, args, .. } => {
                let args = self.list(args);
                let info = error_module(mfa.module).map_or(Term::NIL, |explained| match cause {
                    None => explained.info,
                    Some(cause) => info_of_error(
                        self,
                        &[(am::MODULE, Term::atom(explained.by)), (am::CAUSE, cause)],
                    ),
                });
                let entry =
                    self.tuple(&[Term::atom(mfa.module), Term::atom(mfa.function), args, info]);
                self.cons(entry, Term::NIL)
            }
            Top::Function { mfa, args } => {
                let args = self.list(args);
                let location = self.location_list(ip, Some(mfa));
                let entry =
                    self.tuple(&[Term::atom(mfa.module), Term::atom(mfa.function), args, location]);
                self.cons(entry, Term::NIL)
            }
        };
        // What is the running function itself is not listed twice.
        let listed = matches!(top, Top::Function { .. } | Top::Bif { is_running: true, .. });
        self.exception.trace = self.raw_trace(entries, if listed { None } else { Some(ip) });
    }

    fn location_list(&mut self, address: usize, of: Option<Mfa>) -> Term {
        let located =
            self.vm.code.located(address).filter(|located| of.is_none_or(|of| of == located.mfa));
        let Some((file, line)) = located.and_then(|located| located.source) else {
            return Term::NIL;
        };
        let file = self.string(&file);
        self.place(file, line)
    }

    fn place(&mut self, file: Term, line: u32) -> Term {
        let line = self.tuple(&[Term::atom(am::LINE), Term::small(i64::from(line))]);
        let file = self.tuple(&[Term::atom(am::FILE), file]);
        self.list(&[file, line])
    }

    /// {class, first entries, addresses from the innermost}.
    fn raw_trace(&mut self, entries: Term, ip: Option<usize>) -> Term {
        let depth = self.vm.backtrace_depth();
        // There is room on the stack for the default depth; `erlang:system_flag(backtrace_depth,
        // Depth)` may ask for more.
        let mut addresses: SmallVec<[Term; BACKTRACE_DEPTH + 1]> = SmallVec::new();
        addresses.extend(ip.map(|address| Term::small(address as i64)));
        self.return_addresses(|address| {
            addresses.push(Term::small(address as i64));
            addresses.len() < depth
        });
        let class = self.exception.class;
        let list = self.list(&addresses);
        self.tuple(&[Term::atom(class), entries, list])
    }

    /// Calls `visit` with the return addresses on the stack, innermost first, until it says stop.
    /// One that stands there several times in a row is visited once, as in OTP.
    #[inline]
    pub fn return_addresses(&self, mut visit: impl FnMut(usize) -> bool) {
        let mut at = self.heap.stop;
        let base = self.heap.stack_base();
        let mut last = 0;
        while at < base {
            let place = at;
            // SAFETY: between the stack pointer and its base; the next word is at most the base.
            let word = unsafe {
                at = at.add(1);
                *place
            };
            if word & 0b111 != 0 || word == 0 {
                continue;
            }
            // A return address names the cell after the call; the call itself is before it.
            let call = if self.has_traced_frames {
                self.call_of_frame(place).unwrap_or(last)
            } else {
                word as usize - size_of::<swarmrt_beam::instr::Instr>()
            };
            if call != last && !visit(call) {
                return;
            }
            last = call;
        }
    }

    /// The trace for `erlang:error/2,3`: the calling function's entry carries the given arguments.
    fn trace_with_args(&mut self, args: Term, option: Option<Term>, ip: usize) -> Term {
        let mut ip = ip;
        let mut mfa = self.vm.code.locate(ip, |location| location.mfa);
        let applied = mfa.is_some_and(|mfa| mfa.module == am::ERLANG && mfa.function == am::ERROR);
        if applied {
            // It was called by name, and runs as the body of a function of its own: the caller is
            // where that returns to.
            let mut caller = None;
            self.return_addresses(|address| {
                caller = Some(address);
                false
            });
            if let Some(caller) = caller {
                ip = caller;
                mfa = self.vm.code.locate(ip, |location| location.mfa);
            }
        }
        let Some(mfa) = mfa else { return self.raw_trace(Term::NIL, Some(ip)) };
        let mut location = self.location_list(ip, None).list_to_vec().unwrap_or_default();
        location.extend(option);
        let location = self.list(&location);
        let shown = if args.is_list() { args } else { Term::small(i64::from(mfa.arity)) };
        let entry =
            self.tuple(&[Term::atom(mfa.module), Term::atom(mfa.function), shown, location]);
        let entries = self.cons(entry, Term::NIL);
        let trace = self.raw_trace(entries, None);
        if !applied {
            return trace;
        }
        // The caller stands in front already.
        let raw = trace.as_tuple().expect("raw traces are tuples");
        let addresses = raw.get(2).as_cons().map_or(Term::NIL, |first| first.tail());
        self.tuple(&[raw.get(0), entries, addresses])
    }

    /// A raw trace in the form that programs see; anything else is returned as it is.
    pub fn readable_trace(&mut self, trace: Term) -> Term {
        let Some(raw) = trace.as_tuple().filter(|raw| raw.arity() == 3) else { return trace };
        let mut left = self.vm.backtrace_depth().max(1);
        let mut entries = ListBuilder::default();
        let mut first = raw.get(1);
        while let Some(cell) = first.as_cons().filter(|_| left > 0) {
            entries.push(self, cell.head());
            (first, left) = (cell.tail(), left - 1);
        }
        // Callers are often in the file of what they call: the entries share its name.
        let mut last: Option<NamedFile> = None;
        let mut addresses = raw.get(2);
        let vm = self.vm;
        while let Some(cell) = addresses.as_cons().filter(|_| left > 0) {
            addresses = cell.tail();
            let Some(address) = cell.head().as_small() else { continue };
            let file = last.as_ref().map(|last| &last.file);
            let entry = vm.code.with_located(address as usize, file, |located| {
                self.trace_entry(located, last.as_ref())
            });
            let Some((entry, named)) = entry else { continue };
            entries.push(self, entry);
            left -= 1;
            last = named.or(last);
        }
        entries.finish()
    }

    /// The entry of a readable trace for a place, and its file if that is not the `last` one.
    fn trace_entry(
        &mut self,
        located: &Located,
        last: Option<&NamedFile>,
    ) -> (Term, Option<NamedFile>) {
        let mut named = None;
        let place = match &located.source {
            None => Term::NIL,
            Some((file, line)) => {
                let name = match last.filter(|last| Arc::ptr_eq(&last.file, file)) {
                    Some(last) => last.name,
                    None => {
                        let name = self.string(file);
                        named = Some(NamedFile { file: file.clone(), name });
                        name
                    }
                };
                self.place(name, *line)
            }
        };
        let Mfa { module, function, arity } = located.mfa;
        let arity = Term::small(i64::from(arity));
        let entry = self.tuple(&[Term::atom(module), Term::atom(function), arity, place]);
        (entry, named)
    }

    /// The callers of the function that is being entered, as a stack trace of at most `depth`
    /// entries.
    pub fn trace_of_callers(&mut self, depth: usize) -> Term {
        let raw = self.raw_trace(Term::NIL, None);
        let entries = self.readable_trace(raw).list_to_vec().unwrap_or_default();
        self.list(&entries[..depth.min(entries.len())])
    }

    /// The class that a raw trace was raised with.
    pub fn trace_class(trace: Term) -> Option<Atom> {
        trace.as_tuple().filter(|raw| raw.arity() == 3)?.get(0).as_atom()
    }

    /// Turns an exception that nobody caught into the reason that the process ends with, and
    /// reports it.
    pub fn uncaught(&mut self) {
        let class = self.exception.class;
        if class == am::EXIT && self.extra.as_ref().is_none_or(|extra| extra.on_end.is_none()) {
            return;
        }
        let trace = self.exception.trace;
        let trace = self.readable_trace(trace);
        let mut reason = self.exception.reason;
        let is_told = self.note_end(Ended::Raised { class, reason, trace });
        if class == am::EXIT {
            return;
        }
        if class == am::THROW {
            reason = self.tuple(&[Term::atom(am::NOCATCH), reason]);
        }
        self.exception.reason = self.tuple(&[reason, trace]);
        if !is_told {
            self.log_crash();
        }
    }

    /// What `process_info(Pid, garbage_collection_info)` tells, in words.
    pub fn collector_figures(&self, to: &mut impl Alloc) -> Term {
        let heap = &self.heap;
        let [young, old] = heap.off_heap_lists().map(|list| list.bytes / 8);
        let figures = [
            ("old_heap_block_size", heap.old_words()),
            ("heap_block_size", heap.block_words()),
            ("mbuf_size", heap.fragment_words()),
            ("recent_size", heap.recent_words()),
            ("stack_size", heap.stack_words()),
            ("old_heap_size", heap.old_used_words()),
            ("heap_size", heap.used_words()),
            ("bin_vheap_size", young),
            ("bin_vheap_block_size", heap.off_heap_limit_words()),
            ("bin_old_vheap_size", old),
            ("bin_old_vheap_block_size", heap.off_heap_limit_words()),
        ];
        let pairs: Vec<Term> = figures
            .into_iter()
            .map(|(name, words)| {
                to.tuple(&[Term::atom(Atom::new(name)), Term::small(words as i64)])
            })
            .collect();
        to.list(&pairs)
    }

    fn log_crash(&mut self) {
        let reason = self.exception.reason;
        let pid = self.pid();
        let leader = self.group_leader;
        let node = self.vm.node().name;
        if node == am::NONODE {
            let text = "Error in process ~p with exit value:~n~p~n";
            return log(self.vm, pid, leader, text, &[pid, reason]);
        }
        let text = "Error in process ~p on node ~p with exit value:~n~p~n";
        log(self.vm, pid, leader, text, &[pid, Term::atom(node), reason]);
    }
}

/// Reports a process over its `max_heap_size`.
pub(crate) fn log_max_heap_size(process: &mut Process, limit: MaxHeapSize) {
    let mut heap = FragmentHeap::new();
    let total = Term::small(process.heap.total_words() as i64);
    let text = "     Process:            ~p ~n     Context:            maximum heap size reached~n     Max Heap Size:      ~p~n     Total Heap Size:    ~p~n     Kill:               ~p~n     Error Logger:       ~p~n     Message Queue Len:  ~p~n     GC Info:            ~p~n";
    let waiting = Term::small(process.mailbox.len() as i64);
    let figures = process.collector_figures(&mut heap);
    let arguments = [
        process.pid(),
        heap.int(limit.words as i64),
        total,
        Term::bool(limit.kill),
        Term::bool(limit.error_logger),
        waiting,
        figures,
    ];
    log(process.vm, process.pid(), process.group_leader, text, &arguments);
}

/// Reports a process that needs a larger heap than there is memory for.
pub(crate) fn log_out_of_memory(process: &mut Process, refused: swarmrt_heap::OutOfMemory) {
    let mut heap = FragmentHeap::new();
    let text = "     Process:          ~p ~n     Context:          out of memory~n     Wanted Heap Size: ~p~n     Total Heap Size:  ~p~n     Kill:             true~n";
    let arguments = [
        process.pid(),
        heap.int(refused.words as i64),
        Term::small(process.heap.total_words() as i64),
    ];
    log(process.vm, process.pid(), process.group_leader, text, &arguments);
}

/// What warnings of the machine's are reported as: the flag `+W`.
pub fn warning_level(vm: &crate::Vm) -> Atom {
    match vm.config.flag("+W") {
        Some("e") => am::ERROR,
        Some("i") => am::INFO,
        _ => atom!("warning"),
    }
}

/// Sends an error report of the machine's to OTP's logger, or prints it where there is none.
pub fn log(
    vm: &'static crate::Vm,
    pid: Term,
    group_leader: Term,
    format: &str,
    arguments: &[Term],
) {
    log_as(vm, am::ERROR, pid, group_leader, format, arguments);
}

/// As [`log`], at a level: `error`, `warning` or `info`.
pub fn log_as(
    vm: &'static crate::Vm,
    level: Atom,
    pid: Term,
    group_leader: Term,
    format: &str,
    arguments: &[Term],
) {
    let mut heap = FragmentHeap::new();
    let arguments = heap.list(arguments);
    let receiver = vm.system_logger();
    if receiver == Term::atom(am::UNDEFINED) {
        return;
    }
    let receiver = if receiver.is_pid() { Some(receiver) } else { vm.names.whereis(am::LOGGER) };
    let Some(logger) = receiver.and_then(Term::as_pid) else {
        // Standard error may be closed.
        let _ = write!(std::io::stderr(), "{}", plain_text(format, arguments));
        return;
    };
    let format = heap.string(format);
    let time = heap.int(vm.world.os_time_ns() / 1000);
    let old_tag = match level.name() {
        "warning" => atom!("warning_msg"),
        "info" => atom!("info_msg"),
        _ => am::ERROR,
    };
    let tag = map::from_pairs(
        &mut heap,
        &[
            (Term::atom(atom!("tag")), Term::atom(old_tag)),
            (Term::atom(atom!("emulator")), Term::bool(true)),
        ],
    );
    let mut about = vec![(Term::atom(atom!("time")), time), (Term::atom(am::ERROR_LOGGER), tag)];
    let origin = [(atom!("pid"), pid), (atom!("gl"), group_leader)];
    // What no process has caused has neither.
    let given = origin.into_iter().filter(|(_, term)| !term.is_none());
    about.extend(given.map(|(key, term)| (Term::atom(key), term)));
    let metadata = map::from_pairs(&mut heap, &about);
    let message =
        heap.tuple(&[Term::atom(am::LOG), Term::atom(level), format, arguments, metadata]);
    signal::send_message(vm, pid, logger, message);
}

/// A format with `~p` and `~n` filled in, for when OTP cannot do it.
fn plain_text(format: &str, arguments: Term) -> String {
    let mut arguments = arguments.list_to_vec().unwrap_or_default().into_iter();
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('~') {
        text.push_str(before);
        let mut letters = after.chars();
        match letters.by_ref().find(|c| *c != 't') {
            Some('n') => text.push('\n'),
            Some(_) => text.extend(
                arguments.next().map(|argument| swarmrt_term::print::display(argument).to_string()),
            ),
            None => {}
        }
        rest = letters.as_str();
    }
    text.push_str(rest);
    text
}
