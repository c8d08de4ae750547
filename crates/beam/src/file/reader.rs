//! A cursor over the bytes of a chunk that checks every step.

use crate::error::{BeamError, Place, Problem};

#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    place: Place,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], place: Place) -> Reader<'a> {
        Reader { bytes, position: 0, place }
    }

    /// Everything, also what has been read.
    pub fn whole(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    #[inline]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// An error here.
    pub fn error(&self, problem: Problem) -> BeamError {
        self.error_at(self.position, problem)
    }

    #[cold]
    pub fn error_at(&self, offset: usize, problem: Problem) -> BeamError {
        BeamError::new(self.place, offset, problem)
    }

    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], BeamError> {
        let rest = &self.bytes[self.position..];
        match rest.get(..count) {
            Some(bytes) => {
                self.position += count;
                Ok(bytes)
            }
            None => Err(self.error(Problem::Truncated { wanted: count, left: rest.len() })),
        }
    }

    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.position..];
        self.position = self.bytes.len();
        rest
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BeamError> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("exactly N bytes were asked for"))
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8, BeamError> {
        match self.bytes.get(self.position) {
            Some(byte) => {
                self.position += 1;
                Ok(*byte)
            }
            None => Err(self.error(Problem::Truncated { wanted: 1, left: 0 })),
        }
    }

    pub fn u16(&mut self) -> Result<u16, BeamError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, BeamError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, BeamError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A 32-bit count of things that take at least `bytes_each`, so that it can be trusted for
    /// allocation.
    pub fn count(&mut self, what: &'static str, bytes_each: usize) -> Result<usize, BeamError> {
        let start = self.position;
        let count = self.u32()?;
        self.check_count(start, what, count, bytes_each)
    }

    pub fn check_count(
        &self,
        start: usize,
        what: &'static str,
        count: u32,
        bytes_each: usize,
    ) -> Result<usize, BeamError> {
        let left = self.left();
        if count as usize > left / bytes_each {
            let count = u64::from(count);
            return Err(self.error_at(start, Problem::ImpossibleCount { what, count, left }));
        }
        Ok(count as usize)
    }

    /// A 32-bit number below `count`.
    pub fn index(&mut self, what: &'static str, count: usize) -> Result<u32, BeamError> {
        let start = self.position;
        let value = self.u32()?;
        if (value as usize) < count {
            return Ok(value);
        }
        let value = u64::from(value);
        Err(self.error_at(start, Problem::NoSuchIndex { what, value, count }))
    }

    /// A 32-bit number up to `limit`.
    pub fn at_most(&mut self, what: &'static str, limit: u32) -> Result<u32, BeamError> {
        let start = self.position;
        let value = self.u32()?;
        if value <= limit {
            return Ok(value);
        }
        let (value, limit) = (u64::from(value), u64::from(limit));
        Err(self.error_at(start, Problem::OutOfRange { what, value, limit }))
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Result<(), BeamError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.error(Problem::Trailing { left })),
        }
    }
}
