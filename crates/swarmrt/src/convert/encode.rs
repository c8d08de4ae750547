//! From Rust values to terms.

use super::{ATOM, ConversionError};
use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use swarmrt_term::{Alloc, Atom, FragmentHeap, Term, atom, map};

/// A value as a term.
///
/// # Errors
/// What has no term: floats that are not finite, atoms that are too long.
pub fn encode(
    value: &(impl Serialize + ?Sized),
    heap: &mut FragmentHeap,
) -> Result<Term, ConversionError> {
    value.serialize(Encoder(heap))
}

/// A tuple or a sequence as the list of a function's arguments; `()` is none.
///
/// # Errors
/// As [`encode`], and for what is neither.
pub fn encode_arguments(
    arguments: &(impl Serialize + ?Sized),
    heap: &mut FragmentHeap,
) -> Result<Term, ConversionError> {
    let term = encode(arguments, heap)?;
    if let Some(tuple) = term.as_tuple() {
        return Ok(heap.list(tuple.elements()));
    }
    if term == Term::atom(atom!("undefined")) {
        return Ok(Term::NIL);
    }
    if term.as_cons().is_some() || term == Term::NIL {
        Ok(term)
    } else {
        Err(ConversionError("arguments are a tuple or a list".to_owned()))
    }
}

fn atom_of(name: &str) -> Result<Term, ConversionError> {
    const CHARACTERS_MAX: usize = 255;
    if name.chars().count() > CHARACTERS_MAX {
        return Err(ConversionError(format!("an atom has at most {CHARACTERS_MAX} characters")));
    }
    Ok(Term::atom(Atom::new(name)))
}

struct Encoder<'a>(&'a mut FragmentHeap);

/// A sequence, or what is written as a tuple.
struct Items<'a> {
    heap: &'a mut FragmentHeap,
    items: Vec<Term>,
    is_list: bool,
}

/// A map, or a struct; of a variant, with its name.
struct Pairs<'a> {
    heap: &'a mut FragmentHeap,
    variant: Option<Term>,
    key: Option<Term>,
    pairs: Vec<(Term, Term)>,
}

impl Items<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConversionError> {
        self.items.push(encode(value, self.heap)?);
        Ok(())
    }
    fn finish(self) -> Term {
        if self.is_list { self.heap.list(&self.items) } else { self.heap.tuple(&self.items) }
    }
}

impl Pairs<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), ConversionError> {
        let pair = (atom_of(name)?, encode(value, self.heap)?);
        self.pairs.push(pair);
        Ok(())
    }
    fn finish(self) -> Term {
        let made = map::from_pairs(self.heap, &self.pairs);
        match self.variant {
            Some(variant) => self.heap.tuple(&[variant, made]),
            None => made,
        }
    }
}

impl<'a> Encoder<'a> {
    fn items(self, first: Option<Term>, is_list: bool) -> Items<'a> {
        Items { heap: self.0, items: first.into_iter().collect(), is_list }
    }
    fn pairs(self, variant: Option<Term>) -> Pairs<'a> {
        Pairs { heap: self.0, variant, key: None, pairs: Vec::new() }
    }
}

macro_rules! integers {
    ($($method:ident $kind:ty, $alloc:ident;)*) => {
        $(fn $method(self, value: $kind) -> Result<Term, ConversionError> {
            Ok(self.0.$alloc(value.into()))
        })*
    };
}

impl<'a> Serializer for Encoder<'a> {
    type Ok = Term;
    type Error = ConversionError;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Items<'a>;
    type SerializeMap = Pairs<'a>;
    type SerializeStruct = Pairs<'a>;
    type SerializeStructVariant = Pairs<'a>;

    integers! {
        serialize_i8 i8, int;
        serialize_i16 i16, int;
        serialize_i32 i32, int;
        serialize_i64 i64, int;
        serialize_u8 u8, uint;
        serialize_u16 u16, uint;
        serialize_u32 u32, uint;
        serialize_u64 u64, uint;
    }
    fn serialize_char(self, value: char) -> Result<Term, ConversionError> {
        Ok(self.0.uint(u32::from(value).into()))
    }
    fn serialize_i128(self, value: i128) -> Result<Term, ConversionError> {
        if let Ok(small) = i64::try_from(value) {
            return Ok(self.0.int(small));
        }
        let digits = value.unsigned_abs();
        Ok(self.0.big(value < 0, &[digits as u64, (digits >> 64) as u64]))
    }
    fn serialize_u128(self, value: u128) -> Result<Term, ConversionError> {
        if let Ok(small) = u64::try_from(value) {
            return Ok(self.0.uint(small));
        }
        Ok(self.0.big(false, &[value as u64, (value >> 64) as u64]))
    }
    fn serialize_bool(self, value: bool) -> Result<Term, ConversionError> {
        atom_of(if value { "true" } else { "false" })
    }
    fn serialize_f32(self, value: f32) -> Result<Term, ConversionError> {
        self.serialize_f64(value.into())
    }
    fn serialize_f64(self, value: f64) -> Result<Term, ConversionError> {
        if value.is_finite() {
            Ok(self.0.float(value))
        } else {
            Err(ConversionError(format!("{value} is no float of Erlang")))
        }
    }
    fn serialize_str(self, text: &str) -> Result<Term, ConversionError> {
        Ok(self.0.binary(text.as_bytes()))
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Result<Term, ConversionError> {
        Ok(self.0.binary(bytes))
    }
    fn serialize_none(self) -> Result<Term, ConversionError> {
        atom_of("undefined")
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Term, ConversionError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Term, ConversionError> {
        atom_of("undefined")
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Term, ConversionError> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Term, ConversionError> {
        atom_of(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Term, ConversionError> {
        if name != ATOM {
            return value.serialize(self);
        }
        let text = encode(value, self.0)?;
        let bytes = text.as_bits().map(|bits| bits.to_bytes()).unwrap_or_default();
        atom_of(&String::from_utf8_lossy(&bytes))
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Term, ConversionError> {
        let elements = [atom_of(variant)?, encode(value, self.0)?];
        Ok(self.0.tuple(&elements))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, ConversionError> {
        Ok(self.items(None, true))
    }
    fn serialize_tuple(self, _: usize) -> Result<Items<'a>, ConversionError> {
        Ok(self.items(None, false))
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Items<'a>, ConversionError> {
        Ok(self.items(None, false))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'a>, ConversionError> {
        Ok(self.items(Some(atom_of(variant)?), false))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Pairs<'a>, ConversionError> {
        Ok(self.pairs(None))
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Pairs<'a>, ConversionError> {
        Ok(self.pairs(None))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Pairs<'a>, ConversionError> {
        Ok(self.pairs(Some(atom_of(variant)?)))
    }
}

macro_rules! items {
    ($($of:ident $method:ident;)*) => {
        $(impl $of for Items<'_> {
            type Ok = Term;
            type Error = ConversionError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConversionError> {
                self.add(value)
            }
            fn end(self) -> Result<Term, ConversionError> {
                Ok(self.finish())
            }
        })*
    };
}
items! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! fields {
    ($($of:ident)*) => {
        $(impl $of for Pairs<'_> {
            type Ok = Term;
            type Error = ConversionError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), ConversionError> {
                self.add(name, value)
            }
            fn end(self) -> Result<Term, ConversionError> {
                Ok(self.finish())
            }
        })*
    };
}
fields! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Pairs<'_> {
    type Ok = Term;
    type Error = ConversionError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConversionError> {
        self.key = Some(encode(key, self.heap)?);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConversionError> {
        let value = encode(value, self.heap)?;
        let key =
            self.key.take().ok_or_else(|| ConversionError("a value without a key".to_owned()))?;
        self.pairs.push((key, value));
        Ok(())
    }
    fn end(self) -> Result<Term, ConversionError> {
        Ok(self.finish())
    }
}
