//! Native records (OTP 29): the module `records`. They are made and taken apart by instructions,
//! too (`interp::records`).

use crate::args::{atom_of, pair_of};
use swarmrt_machine::{BifExit, BifResult, Process, bif};
use swarmrt_term::{Alloc, Record, Term, am, atom, map};

fn bad_record(p: &mut Process, value: Term) -> BifResult {
    Err(BifExit::Error(p.tuple(&[Term::atom(am::BADRECORD), value])))
}
fn bad_map(p: &mut Process, value: Term) -> BifResult {
    Err(BifExit::Error(p.tuple(&[Term::atom(am::BADMAP), value])))
}
fn bad_field(p: &mut Process, module: Term, name: Term, field: Term) -> BifResult {
    let id = p.tuple(&[module, name]);
    let place = p.tuple(&[id, field]);
    Err(BifExit::Error(p.tuple(&[Term::atom(atom!("badfield")), place])))
}
fn record_of(term: Term) -> Result<Record, BifExit> {
    term.as_record().ok_or(BifExit::BADARG)
}

#[bif("erlang:is_record/1", guard, since = 29)]
fn is_record(_p: &mut Process, term: Term) -> BifResult {
    Ok(Term::bool(term.as_record().is_some()))
}

#[bif("records:get_module/1", since = 29)]
fn get_module(_p: &mut Process, record: Term) -> BifResult {
    Ok(record_of(record)?.module())
}

#[bif("records:get_name/1", since = 29)]
fn get_name(_p: &mut Process, record: Term) -> BifResult {
    Ok(record_of(record)?.name())
}

#[bif("records:get/2", since = 29)]
fn get(_p: &mut Process, field: Term, record: Term) -> BifResult {
    atom_of(field)?;
    record_of(record)?.get(field).ok_or(BifExit::BADARG)
}

#[bif("records:get_field_names/1", since = 29)]
fn get_field_names(p: &mut Process, record: Term) -> BifResult {
    match record.as_record() {
        Some(record) => Ok(p.list(record.fields())),
        None => bad_record(p, record),
    }
}

#[bif("records:is_exported/1", since = 29)]
fn is_exported(p: &mut Process, record: Term) -> BifResult {
    match record.as_record() {
        Some(record) => Ok(Term::bool(record.is_exported())),
        None => bad_record(p, record),
    }
}

/// `records:create(Module, Name, [{Field, Value}], #{is_exported := boolean()})`
#[bif("records:create/4", since = 29)]
fn create(p: &mut Process, module: Term, name: Term, fields: Term, options: Term) -> BifResult {
    if !module.is_atom() || !name.is_atom() {
        return bad_record(p, name);
    }
    if !options.is_map() {
        return bad_map(p, options);
    }
    let exported = map::get(options, Term::atom(atom!("is_exported")))
        .filter(|_| map::size(options) == 1)
        .and_then(Term::as_atom);
    let is_exported = match exported {
        Some(am::TRUE) => true,
        Some(am::FALSE) => false,
        _ => return Err(BifExit::BADARG),
    };
    let pairs = fields.list_to_vec().ok_or(BifExit::BADARG)?;
    let (mut names, mut values) =
        (Vec::with_capacity(pairs.len()), Vec::with_capacity(pairs.len()));
    for pair in pairs {
        let (field, value) = pair_of(pair).ok_or(BifExit::BADARG)?;
        if !field.is_atom() {
            return bad_field(p, module, name, field);
        }
        names.push(field);
        values.push(value);
    }
    let mut sorted: Vec<u64> = names.iter().map(|name| name.raw()).collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(BifExit::BADARG);
    }
    let definition = p.heap.record_definition(module, name, is_exported, &names);
    Ok(p.heap.record(definition, &values))
}

/// `records:update(Record, Module, Name, Fields)`, with `Fields` a map; `'_'` for the name stands
/// for any record.
#[bif("records:update/4", since = 29)]
fn update(p: &mut Process, term: Term, module: Term, name: Term, fields: Term) -> BifResult {
    let Some(record) = term.as_record() else { return bad_record(p, term) };
    let any = name == Term::atom(am::UNDERSCORE);
    if !any && (record.module() != module || record.name() != name) {
        return bad_record(p, name);
    }
    if !fields.is_map() {
        return bad_map(p, fields);
    }
    if map::size(fields) == 0 {
        return Ok(term);
    }
    let mut values = record.values().to_vec();
    for (field, value) in map::iter(fields) {
        match record.position(field) {
            Some(position) => values[position] = value,
            None => return bad_field(p, record.module(), record.name(), field),
        }
    }
    Ok(p.heap.record(record.definition().term(), &values))
}

/// `{#{is_exported := boolean()}, [Field | {Field, Default}]}`
#[bif("records:get_definition/2", since = 29)]
fn get_definition(p: &mut Process, module: Term, name: Term) -> BifResult {
    let entry = p.vm.code.record(atom_of(module)?, atom_of(name)?).ok_or(BifExit::BADARG)?;
    let (Some(definition), Some(defaults)) =
        (entry.definition.as_tuple(), entry.defaults.as_tuple())
    else {
        return Err(BifExit::BADARG);
    };
    let names = &definition.elements()[Record::FIELDS_AT..];
    let fields: Vec<Term> = names
        .iter()
        .zip(defaults.elements())
        .map(|(&name, &value)| if value.is_none() { name } else { p.tuple(&[name, value]) })
        .collect();
    let fields = p.list(&fields);
    let options =
        map::from_pairs(&mut p.heap, &[(Term::atom(atom!("is_exported")), definition.get(2))]);
    Ok(p.tuple(&[options, fields]))
}
