//! A cursor over the bytes of a chunk that checks every step.

use crate::error::{BeamError, FilePart, Problem};

#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    place: FilePart,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte. `place` says in errors which part of the file it reads.
    pub fn new(bytes: &'a [u8], place: FilePart) -> Reader<'a> {
        Reader { bytes, position: 0, place }
    }

    /// All bytes, those already read included.
    pub fn whole(&self) -> &'a [u8] {
        self.bytes
    }

    /// Offset of the next byte, from 0.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes that have not been read.
    #[inline]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes that have not been read.
    #[inline]
    pub fn ahead(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// Goes on behind the next `count` bytes, which are there.
    #[inline]
    pub fn skip(&mut self, count: usize) {
        debug_assert!(count <= self.left());
        self.position += count;
    }

    /// An error at the next byte.
    pub fn error(&self, problem: Problem) -> BeamError {
        self.error_at(self.position, problem)
    }

    /// An error at a byte of the chunk, from 0, which may be one that was read before.
    #[cold]
    pub fn error_at(&self, offset: usize, problem: Problem) -> BeamError {
        BeamError::new(self.place, offset, problem)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Truncated`, and nothing is read, when there are fewer.
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

    /// The bytes that have not been read; none are left then.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.position..];
        self.position = self.bytes.len();
        rest
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// `Truncated`, and nothing is read, when there are fewer.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BeamError> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("exactly N bytes were asked for"))
    }

    /// The next byte.
    ///
    /// # Errors
    /// `Truncated` when there is none.
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

    /// The next two bytes, big-endian.
    ///
    /// # Errors
    /// `Truncated`, and nothing is read, when there are fewer.
    pub fn u16(&mut self) -> Result<u16, BeamError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// The next four bytes, big-endian.
    ///
    /// # Errors
    /// `Truncated`, and nothing is read, when there are fewer.
    pub fn u32(&mut self) -> Result<u32, BeamError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// The next eight bytes, big-endian two's complement.
    ///
    /// # Errors
    /// `Truncated`, and nothing is read, when there are fewer.
    pub fn i64(&mut self) -> Result<i64, BeamError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// The next four bytes as a count of things that take at least `bytes_each` bytes each, so that
    /// it can be trusted for allocation.
    ///
    /// # Errors
    /// `Truncated`, or `ImpossibleCount` when so many things do not fit into the rest.
    pub fn count(&mut self, what: &'static str, bytes_each: usize) -> Result<usize, BeamError> {
        let start = self.position;
        let count = self.u32()?;
        self.check_count(start, what, count, bytes_each)
    }

    /// `count` if as many things of at least `bytes_each` bytes fit into what has not been read.
    /// `start`: the offset of the count itself, for the error.
    ///
    /// # Errors
    /// `ImpossibleCount` when they do not fit.
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

    /// The next four bytes as a number below `count`.
    ///
    /// # Errors
    /// `Truncated`, or `NoSuchIndex`.
    pub fn index(&mut self, what: &'static str, count: usize) -> Result<u32, BeamError> {
        let start = self.position;
        let value = self.u32()?;
        if (value as usize) < count {
            return Ok(value);
        }
        let value = u64::from(value);
        Err(self.error_at(start, Problem::NoSuchIndex { what, value, count }))
    }

    /// The next four bytes as a number up to `limit`.
    ///
    /// # Errors
    /// `Truncated`, or `OutOfRange`.
    pub fn at_most(&mut self, what: &'static str, limit: u32) -> Result<u32, BeamError> {
        let start = self.position;
        let value = self.u32()?;
        if value <= limit {
            return Ok(value);
        }
        let (value, limit) = (u64::from(value), u64::from(limit));
        Err(self.error_at(start, Problem::OutOfRange { what, value, limit }))
    }

    /// Checks that all bytes have been read.
    ///
    /// # Errors
    /// `Trailing` when some are left.
    pub fn finish(&self) -> Result<(), BeamError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.error(Problem::Trailing { left })),
        }
    }
}
