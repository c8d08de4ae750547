//! Native records: making and changing them, and taking their fields.

use swarmrt_beam::instr::{
    NO_MODULE, RecordAccess, RecordField, RecordGet, RecordId, RecordPut, RecordSource, RecordTest,
    Src,
};
use swarmrt_machine::{BifExit, Process};
use swarmrt_term::{Alloc, Record, Term, Tuple, am, atom};

fn id_of(definition: Tuple) -> (Term, Term) {
    (definition.get(0), definition.get(1))
}

/// An error about a field: `{Tag, {{Module, Name}, Field}}`.
fn field_error(
    p: &mut Process,
    tag: swarmrt_term::Atom,
    (module, name): (Term, Term),
    field: Term,
) -> BifExit {
    let id = p.heap.tuple(&[module, name]);
    let place = p.heap.tuple(&[id, field]);
    BifExit::Error(p.heap.tuple(&[Term::atom(tag), place]))
}

fn bad_record(p: &mut Process, value: Term) -> BifExit {
    BifExit::Error(p.heap.tuple(&[Term::atom(am::BADRECORD), value]))
}

/// Whether `value` is a native record of the module and name that the test asks for.
pub fn is_record_of(test: &RecordTest, value: Term) -> bool {
    let RecordId { module, name } = test.id;
    value
        .as_record()
        .is_some_and(|record| id_of(record.definition()) == (Term::atom(module), Term::atom(name)))
}

/// Whether the module with atom number `own` may access the record's fields: it defines the record,
/// or the record is exported.
pub fn is_accessible(value: Term, own: u32) -> bool {
    let is_own = |record: Record| {
        own != NO_MODULE && record.module().as_atom().is_some_and(|module| module.index() == own)
    };
    value.as_record().is_some_and(|record| record.is_exported() || is_own(record))
}

/// Calls `set` with the value of each field. `false`, without a call, when the record lacks one of
/// them, or `value` is no native record.
pub fn get_fields(
    get: &RecordGet,
    value: Term,
    mut set: impl FnMut(swarmrt_beam::instr::Dst, Term),
) -> bool {
    let Some(record) = value.as_record() else { return false };
    let names = record.fields();
    if !get.fields.iter().all(|(field, _)| names.contains(field)) {
        return false;
    }
    for &(field, dst) in &get.fields {
        if let Some(value) = record.get(field) {
            set(dst, value);
        }
    }
    true
}

/// The value of a field.
///
/// # Errors
/// `{badrecord, Value}` where the record is not one that may be looked into, `{badfield, _}` where
/// it has no such field.
pub fn get_field(p: &mut Process, get: &RecordField, value: Term) -> Result<Term, BifExit> {
    // A guard does not show the error.
    let guard = get.fail != 0;
    let Some(record) = value.as_record() else {
        return Err(if guard { BifExit::BADARG } else { bad_record(p, value) });
    };
    let may = match get.access {
        RecordAccess::Any => true,
        RecordAccess::Local(name) => record.name() == Term::atom(name),
        RecordAccess::External(RecordId { module, name }) => {
            id_of(record.definition()) == (Term::atom(module), Term::atom(name))
                && record.is_exported()
        }
    };
    if guard {
        return record.get(get.field).filter(|_| may).ok_or(BifExit::BADARG);
    }
    if !may {
        return Err(bad_record(p, value));
    }
    record
        .get(get.field)
        .ok_or_else(|| field_error(p, atom!("badfield"), id_of(record.definition()), get.field))
}

/// A new record, or another with some fields changed.
///
/// # Errors
/// `{badrecord, _}` where there is no accessible definition or no record to change, `{badfield, _}`
/// where a field does not exist, `{novalue, _}` where one has no value.
pub fn put(
    p: &mut Process,
    put: &RecordPut,
    resolve: impl Fn(Src) -> Term,
) -> Result<Term, BifExit> {
    let (definition, before) = match put.source {
        RecordSource::Update(record) => {
            let value = resolve(record);
            let Some(record) = value.as_record() else { return Err(bad_record(p, value)) };
            (record.definition(), record.values())
        }
        RecordSource::Local { definition, defaults } => {
            let pair = resolve(definition).as_tuple().zip(resolve(defaults).as_tuple());
            let (definition, defaults) = pair.expect("the literals of a record are tuples");
            (definition, defaults.elements())
        }
        RecordSource::External(RecordId { module, name }) => {
            let entry = p.vm.code.record(module, name);
            let pair =
                entry.and_then(|entry| entry.definition.as_tuple().zip(entry.defaults.as_tuple()));
            match pair.filter(|(definition, _)| definition.get(2) == Term::bool(true)) {
                Some((definition, defaults)) => (definition, defaults.elements()),
                None => {
                    let id = p.heap.tuple(&[Term::atom(module), Term::atom(name)]);
                    return Err(bad_record(p, id));
                }
            }
        }
    };
    let names = &definition.elements()[Record::FIELDS_AT..];
    let mut values = before.to_vec();
    for &(field, value) in &put.fields {
        match names.iter().position(|&name| name == field) {
            Some(position) => values[position] = resolve(value),
            None => return Err(field_error(p, atom!("badfield"), id_of(definition), field)),
        }
    }
    if let Some(position) = values.iter().position(|value| value.is_none()) {
        return Err(field_error(p, atom!("novalue"), id_of(definition), names[position]));
    }
    Ok(p.heap.record(definition.term(), &values))
}
