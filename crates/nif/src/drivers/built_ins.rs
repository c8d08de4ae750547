//! `erl_ddll`: loading, unloading and monitoring drivers.

use super::errors;
use super::registry::{self, Awaited, LoadOptions, Refused, When};
use swarmrt_io::port::{Ports, iodata};
use swarmrt_machine::process::links::RefValue;
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Atom, Term, am, atom};

/// The name of a driver: an atom, or characters as those of output.
fn name_of(term: Term) -> Option<String> {
    match term.as_atom() {
        Some(name) => Some(name.name().to_owned()).filter(|name| !name.is_empty()),
        None => iodata(term).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The path of a driver's file, without its ending. A folder is no atom, whatever the documentation
/// of OTP says.
fn path_of(folder: Term, name: &str) -> Option<String> {
    let folder = Some(folder).filter(|folder| !folder.is_atom())?;
    let bytes = swarmrt_io::name_bytes(folder).filter(|bytes| !bytes.contains(&0))?;
    let folder = String::from_utf8(bytes).ok()?;
    Some(format!("{}/{name}", folder.trim_end_matches(['/', '\\'])))
}

/// The pairs and atoms of a list of options: `(name, value)`, with no value for an atom.
fn options_of(list: Term) -> Option<Vec<(Atom, Option<Term>)>> {
    let option = |option: &Term| match option.as_tuple() {
        Some(pair) if pair.arity() == 2 => Some((pair.get(0).as_atom()?, Some(pair.get(1)))),
        Some(_) => None,
        None => Some((option.as_atom()?, None)),
    };
    list.list_to_vec()?.iter().map(option).collect()
}

fn when_of(value: Term) -> Option<When> {
    match value.as_atom()?.name() {
        "pending_driver" => Some(When::PendingDriver),
        "pending" => Some(When::Pending),
        _ => None,
    }
}

fn load_options(list: Term) -> Option<LoadOptions> {
    let mut options = LoadOptions { kill_ports: false, monitors: false, reload: None };
    for (name, value) in options_of(list)? {
        let value = value?;
        match name.name() {
            "driver_options" => {
                for option in value.list_to_vec()? {
                    option.as_atom().filter(|option| option.name() == "kill_ports")?;
                    options.kill_ports = true;
                }
            }
            "monitor" => options.monitors = when_of(value).map(|_| true)?,
            "reload" => options.reload = Some(when_of(value)?),
            _ => return None,
        }
    }
    Some(options)
}

/// Whether to kill ports, and the monitor.
fn unload_options(list: Term) -> Option<(bool, Option<When>)> {
    let (mut kills, mut monitor) = (false, None);
    for (name, value) in options_of(list)? {
        match (name.name(), value) {
            ("kill_ports", None) => kills = true,
            ("monitor", Some(value)) => monitor = Some(when_of(value)?),
            _ => return None,
        }
    }
    Some((kills, monitor))
}

fn answer(p: &mut Process, result: Result<registry::Done, Refused>) -> BifResult {
    let words = match result {
        Ok((status, reference)) => {
            let reference = reference.map(|reference| reference.to_term(&mut p.heap));
            let status = Term::atom(Atom::new(status));
            [Term::atom(am::OK), status].into_iter().chain(reference).collect()
        }
        Err(Refused::Named(name)) => vec![Term::atom(am::ERROR), Term::atom(Atom::new(name))],
        Err(Refused::Linker(text)) => {
            vec![Term::atom(am::ERROR), errors::numbered(&mut p.heap, &text)]
        }
    };
    Ok(p.tuple(&words))
}

#[bif("erl_ddll:try_load/3")]
fn try_load(p: &mut Process, folder: Term, name: Term, options: Term) -> BifResult {
    let options = load_options(options).ok_or(BifExit::BADARG)?;
    let name = name_of(name).ok_or(BifExit::BADARG)?;
    let path = path_of(folder, &name).ok_or(BifExit::BADARG)?;
    let result = registry::try_load(p, &path, &name, &options);
    answer(p, result)
}

#[bif("erl_ddll:try_unload/2")]
fn try_unload(p: &mut Process, name: Term, options: Term) -> BifResult {
    let (kills, monitor) = unload_options(options).ok_or(BifExit::BADARG)?;
    let name = name_of(name).ok_or(BifExit::BADARG)?;
    let result = registry::try_unload(p, &name, kills, monitor);
    answer(p, result)
}

#[bif("erl_ddll:monitor/2")]
fn monitor(p: &mut Process, kind: Term, what: Term) -> BifResult {
    let pair = what.as_tuple().filter(|pair| pair.arity() == 2);
    let is_driver = kind == Term::atom(atom!("driver"));
    let pair = pair.filter(|_| is_driver).ok_or(BifExit::BADARG)?;
    let name = name_of(pair.get(0)).ok_or(BifExit::BADARG)?;
    let awaited = match pair.get(1).as_atom().map(|event| event.name()) {
        Some("loaded") => Awaited::Load,
        Some("unloaded") => Awaited::Unload,
        Some("unloaded_only") => Awaited::UnloadOnly,
        _ => return Err(BifExit::BADARG),
    };
    let reference = registry::monitor(p, &name, pair.get(0), awaited);
    Ok(reference.to_term(&mut p.heap))
}

#[bif("erl_ddll:demonitor/1")]
fn demonitor(p: &mut Process, reference: Term) -> BifResult {
    let reference = reference.as_local_ref().ok_or(BifExit::BADARG)?;
    registry::demonitor(p.id(), RefValue::of(reference));
    Ok(Term::atom(am::TRUE))
}

#[bif("erl_ddll:loaded_drivers/0")]
fn loaded_drivers(p: &mut Process) -> BifResult {
    let linked_in = Ports::of(p.vm).driver_names(p.vm.release()).into_iter().map(str::to_owned);
    let names: Vec<String> = linked_in.chain(registry::names()).collect();
    let names: Vec<Term> = names.iter().map(|name| p.string(name)).collect();
    let names = p.list(&names);
    Ok(p.tuple(&[Term::atom(am::OK), names]))
}

#[bif("erl_ddll:info/2")]
fn info(p: &mut Process, name: Term, item: Term) -> BifResult {
    let name = name_of(name).ok_or(BifExit::BADARG)?;
    let item = item.as_atom().ok_or(BifExit::BADARG)?;
    const ITEMS: [&str; 7] = [
        "processes",
        "driver_options",
        "port_count",
        "linked_in_driver",
        "permanent",
        "awaiting_load",
        "awaiting_unload",
    ];
    if !ITEMS.contains(&item.name()) {
        return Err(BifExit::BADARG);
    }
    let Some(info) = registry::info(&name) else {
        if !Ports::of(p.vm).driver_names(p.vm.release()).contains(&name.as_str()) {
            return Err(BifExit::BADARG);
        }
        return Ok(match item.name() {
            "linked_in_driver" => Term::bool(true),
            "permanent" => Term::bool(false),
            _ => Term::atom(atom!("linked_in_driver")),
        });
    };
    let counts = match item.name() {
        "driver_options" => {
            let kill_ports = info.kill_ports.then_some(Term::atom(atom!("kill_ports")));
            return Ok(p.list(kill_ports.as_slice()));
        }
        "linked_in_driver" => return Ok(Term::bool(false)),
        "permanent" => return Ok(Term::bool(info.is_permanent)),
        _ if info.is_permanent => return Ok(Term::atom(atom!("permanent"))),
        "port_count" => return Ok(Term::small(info.ports as i64)),
        "processes" => info.users,
        "awaiting_load" => info.awaiting_load,
        _ => info.awaiting_unload,
    };
    let pair = |&(pid, count): &(u64, usize)| p.tuple(&[Term::pid(pid), Term::small(count as i64)]);
    let counts: Vec<Term> = counts.iter().map(pair).collect();
    Ok(p.list(&counts))
}

#[bif("erl_ddll:format_error_int/1")]
fn format_error_int(p: &mut Process, error: Term) -> BifResult {
    let text = errors::text_of(error).ok_or(BifExit::BADARG)?;
    Ok(p.string(&text))
}
