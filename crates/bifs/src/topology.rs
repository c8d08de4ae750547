//! How the processors of the machine are arranged, as `erlang:system_info(cpu_topology)` tells it.

use std::collections::BTreeMap;
use swarmrt_machine::Process;
use swarmrt_term::{Alloc, Term, am, atom};

/// Logical processors by core by processor, each by its number.
type Processors = BTreeMap<i64, BTreeMap<i64, Vec<i64>>>;

/// What the kernel says of the processors that are online; empty where it says nothing.
fn processors() -> Processors {
    let mut found = Processors::new();
    let folder = std::path::Path::new("/sys/devices/system/cpu");
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(logical) =
            name.to_str().and_then(|name| name.strip_prefix("cpu")?.parse::<i64>().ok())
        else {
            continue;
        };
        let number = |file: &str| -> Option<i64> {
            let text = std::fs::read_to_string(entry.path().join("topology").join(file)).ok()?;
            text.trim().parse().ok()
        };
        if let (Some(processor), Some(core)) = (number("physical_package_id"), number("core_id")) {
            found.entry(processor).or_default().entry(core).or_default().push(logical);
        }
    }
    found
}

/// `[{processor, [{core, {logical, N}} | {core, [{thread, {logical, N}}]}]}]`, or `undefined`.
pub(crate) fn detected(p: &mut Process) -> Term {
    let found = processors();
    if found.is_empty() {
        return Term::atom(am::UNDEFINED);
    }
    let logical = |p: &mut Process, number: i64| {
        p.tuple(&[Term::atom(atom!("logical")), Term::small(number)])
    };
    let mut processors = Vec::new();
    for cores in found.into_values() {
        let mut list = Vec::new();
        for mut threads in cores.into_values() {
            threads.sort_unstable();
            let inside = if let [only] = threads[..] {
                logical(p, only)
            } else {
                let threads: Vec<Term> = threads
                    .into_iter()
                    .map(|number| {
                        let place = logical(p, number);
                        p.tuple(&[Term::atom(atom!("thread")), place])
                    })
                    .collect();
                p.list(&threads)
            };
            list.push(p.tuple(&[Term::atom(atom!("core")), inside]));
        }
        let list = p.list(&list);
        processors.push(p.tuple(&[Term::atom(atom!("processor")), list]));
    }
    p.list(&processors)
}
