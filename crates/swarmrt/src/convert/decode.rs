//! From terms to Rust values.

use super::ConversionError;
use serde::de::value::{
    MapAccessDeserializer, MapDeserializer, SeqDeserializer, StrDeserializer, StringDeserializer,
};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    VariantAccess, Visitor,
};
use swarmrt_term::{Term, map, print};

/// A term as a value.
///
/// # Errors
/// When it is of another shape.
pub fn decode<T: DeserializeOwned>(term: Term) -> Result<T, ConversionError> {
    T::deserialize(Decoder(term))
}

/// A function's arguments as a tuple; none as `()`.
///
/// # Errors
/// When they are of other shapes.
pub fn decode_arguments<T: DeserializeOwned>(arguments: &[Term]) -> Result<T, ConversionError> {
    T::deserialize(Arguments(arguments))
}

#[derive(Clone, Copy)]
struct Decoder(Term);

impl IntoDeserializer<'_, ConversionError> for Decoder {
    type Deserializer = Decoder;
    fn into_deserializer(self) -> Decoder {
        self
    }
}

fn sequence(terms: &[Term]) -> SeqDeserializer<impl Iterator<Item = Decoder>, ConversionError> {
    SeqDeserializer::new(terms.iter().copied().map(Decoder))
}

impl Decoder {
    fn other<T>(self, wanted: &str) -> Result<T, ConversionError> {
        Err(ConversionError(format!("{} is not {wanted}", print::display(self.0))))
    }
    fn name(self) -> Option<&'static str> {
        self.0.as_atom().map(|atom| atom.name())
    }
    fn is_named(self, names: &[&str]) -> bool {
        self.name().is_some_and(|name| names.contains(&name))
    }
    fn bytes(self) -> Option<Vec<u8>> {
        let bits = self.0.as_bits().filter(|_| self.0.is_binary())?;
        Some(bits.to_bytes().into_owned())
    }
    fn text(self) -> Option<String> {
        if let Some(name) = self.name() {
            return Some(name.to_owned());
        }
        if let Some(bytes) = self.bytes() {
            return String::from_utf8(bytes).ok();
        }
        let character = |term: Term| char::from_u32(u32::try_from(term.as_small()?).ok()?);
        self.0.list_to_vec()?.into_iter().map(character).collect()
    }
    fn integer(self) -> Option<i128> {
        if let Some(small) = self.0.as_small() {
            return Some(small.into());
        }
        let big = self.0.as_big()?;
        let digits = big.digits();
        let magnitude = match *digits {
            [low] => u128::from(low),
            [low, high] => u128::from(low) | u128::from(high) << 64,
            _ => return None,
        };
        let value = i128::try_from(magnitude).ok()?;
        Some(if big.is_negative() { -value } else { value })
    }
    fn pairs(
        self,
    ) -> Option<MapDeserializer<'static, impl Iterator<Item = (Decoder, Decoder)>, ConversionError>>
    {
        self.0.is_map().then(|| {
            MapDeserializer::new(
                map::iter(self.0).map(|(key, value)| (Decoder(key), Decoder(value))),
            )
        })
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
            match self.integer() {
                Some(value) => match (i64::try_from(value), u64::try_from(value)) {
                    (Ok(value), _) => visitor.visit_i64(value),
                    (_, Ok(value)) => visitor.visit_u64(value),
                    _ => visitor.visit_i128(value),
                },
                None => self.other("an integer that fits"),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Decoder {
    type Error = ConversionError;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        if let Some(value) = self.0.as_bool() {
            return visitor.visit_bool(value);
        }
        if let Some(name) = self.name() {
            return visitor.visit_str(name);
        }
        if self.0.is_integer() {
            return self.deserialize_i64(visitor);
        }
        if let Some(float) = self.0.as_float() {
            return visitor.visit_f64(float);
        }
        if let Some(bytes) = self.bytes() {
            return match String::from_utf8(bytes) {
                Ok(text) => visitor.visit_string(text),
                Err(error) => visitor.visit_byte_buf(error.into_bytes()),
            };
        }
        if let Some(tuple) = self.0.as_tuple() {
            return visitor.visit_seq(sequence(tuple.elements()));
        }
        if let Some(pairs) = self.pairs() {
            return visitor.visit_map(pairs);
        }
        match self.0.list_to_vec() {
            Some(items) => visitor.visit_seq(sequence(&items)),
            None => self.other("a value that Rust has"),
        }
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        match self.0.as_bool() {
            Some(value) => visitor.visit_bool(value),
            None => self.other("true or false"),
        }
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        self.deserialize_f64(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        match (self.0.as_float(), self.0.as_small()) {
            (Some(value), _) => visitor.visit_f64(value),
            (None, Some(value)) => visitor.visit_f64(value as f64),
            (None, None) => self.other("a float"),
        }
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        let of_number =
            self.0.as_small().and_then(|code| char::from_u32(u32::try_from(code).ok()?));
        match of_number {
            Some(character) => visitor.visit_char(character),
            None => self.deserialize_str(visitor),
        }
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        match self.text() {
            Some(text) => visitor.visit_string(text),
            None => self.other("text"),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        match self.bytes() {
            Some(bytes) => visitor.visit_byte_buf(bytes),
            None => self.other("a binary"),
        }
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        self.deserialize_bytes(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        if self.is_named(&["undefined", "nil"]) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        if self.is_named(&["ok", "undefined", "nil"]) {
            visitor.visit_unit()
        } else {
            self.other("ok")
        }
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        match (self.0.as_tuple(), self.0.list_to_vec()) {
            (Some(tuple), _) => visitor.visit_seq(sequence(tuple.elements())),
            (None, Some(items)) => visitor.visit_seq(sequence(&items)),
            (None, None) => self.other("a list"),
        }
    }
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        elements: usize,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        let has = self.0.as_tuple().map(|tuple| tuple.arity()).or_else(|| self.0.list_len());
        if has == Some(elements) {
            self.deserialize_seq(visitor)
        } else {
            self.other(&format!("a tuple of {elements} elements"))
        }
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        elements: usize,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        self.deserialize_tuple(elements, visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        match self.pairs() {
            Some(pairs) => visitor.visit_map(pairs),
            None => self.other("a map"),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        self.deserialize_map(visitor)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        if let Some(name) = self.name() {
            return visitor.visit_enum(StrDeserializer::new(name));
        }
        if let Some((first, fields)) =
            self.0.as_tuple().and_then(|tuple| tuple.elements().split_first())
            && let Some(variant) = Decoder(*first).name()
        {
            return visitor.visit_enum(Variant { name: variant, fields });
        }
        match self.text() {
            Some(text) => visitor.visit_enum(StringDeserializer::new(text)),
            None => self.other("a variant"),
        }
    }
    fn deserialize_identifier<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        self.deserialize_str(visitor)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(
        self,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        visitor.visit_unit()
    }
}

/// A tuple that begins with the name of a variant.
struct Variant<'a> {
    name: &'static str,
    fields: &'a [Term],
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = ConversionError;
    type Variant = Fields<'a>;
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Fields<'a>), ConversionError> {
        Ok((
            seed.deserialize(StrDeserializer::<ConversionError>::new(self.name))?,
            Fields(self.fields),
        ))
    }
}

struct Fields<'a>(&'a [Term]);

impl<'de> VariantAccess<'de> for Fields<'_> {
    type Error = ConversionError;
    fn unit_variant(self) -> Result<(), ConversionError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConversionError::custom("a variant without fields has some"))
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ConversionError> {
        match *self.0 {
            [field] => seed.deserialize(Decoder(field)),
            _ => Err(ConversionError(format!("a variant with one field has {}", self.0.len()))),
        }
    }
    fn tuple_variant<V: Visitor<'de>>(
        self,
        fields: usize,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        if self.0.len() == fields {
            visitor.visit_seq(sequence(self.0))
        } else {
            Err(ConversionError(format!("a variant with {fields} fields has {}", self.0.len())))
        }
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        match self.0.first().and_then(|&fields| Decoder(fields).pairs()) {
            Some(pairs) => {
                Deserializer::deserialize_map(MapAccessDeserializer::new(pairs), visitor)
            }
            None => Err(ConversionError::custom("the fields of a variant are a map")),
        }
    }
}

/// Arguments of a function.
struct Arguments<'a>(&'a [Term]);

impl<'de> Deserializer<'de> for Arguments<'_> {
    type Error = ConversionError;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        if self.0.is_empty() { visitor.visit_unit() } else { visitor.visit_seq(sequence(self.0)) }
    }
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        elements: usize,
        visitor: V,
    ) -> Result<V::Value, ConversionError> {
        if self.0.len() == elements {
            visitor.visit_seq(sequence(self.0))
        } else {
            Err(ConversionError(format!("{elements} arguments are wanted, {} given", self.0.len())))
        }
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConversionError> {
        visitor.visit_seq(sequence(self.0))
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        tuple_struct map struct enum identifier ignored_any
    }
}
