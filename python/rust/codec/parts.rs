//! Reading across the parts of a fragmented payload.
//!
//! Owns a cursor over several byte slices. Invariant: `remaining` is what all slices still hold,
//! so a length prefix can be checked before anything is allocated for it.

use std::borrow::Cow;

use bytes::Bytes;

/// Size of all parts together.
pub(crate) fn total_len(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

/// A cursor over the parts of one payload.
pub(super) struct Parts<'a> {
    current: &'a [u8],
    rest: std::slice::Iter<'a, Bytes>,
    remaining: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(parts: &'a [Bytes]) -> Self {
        Self { current: &[], rest: parts.iter(), remaining: total_len(parts) }
    }

    /// A cursor over one slice.
    pub(super) fn of_slice(slice: &'a [u8]) -> Self {
        Self { current: slice, rest: [].iter(), remaining: slice.len() }
    }

    pub(super) fn remaining(&self) -> usize {
        self.remaining
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        if self.current.is_empty() {
            self.advance()?;
        }
        let (&byte, rest) = self.current.split_first()?;
        self.current = rest;
        self.remaining -= 1;
        Some(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut out = [0; N];
        self.fill(&mut out).then_some(out)
    }

    /// The next `len` bytes; borrowed unless they lie across parts.
    pub(super) fn take(&mut self, len: usize) -> Option<Cow<'a, [u8]>> {
        if let Some((head, rest)) = self.current.split_at_checked(len) {
            self.current = rest;
            self.remaining -= len;
            return Some(Cow::Borrowed(head));
        }
        if len > self.remaining {
            return None;
        }
        let mut out = vec![0; len];
        self.fill(&mut out).then_some(Cow::Owned(out))
    }

    /// Copies the next `out.len()` bytes; false, and nothing copied, if there are not as many.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> bool {
        let mut filled = 0;
        self.each(out.len(), |piece| {
            out[filled..][..piece.len()].copy_from_slice(piece);
            filled += piece.len();
        })
    }

    /// Gives out the next `len` bytes piece by piece; false, and nothing given, if there are not as
    /// many.
    pub(super) fn each(&mut self, mut len: usize, mut give: impl FnMut(&[u8])) -> bool {
        if len > self.remaining {
            return false;
        }
        self.remaining -= len;
        while len > 0 {
            if self.current.is_empty() && self.advance().is_none() {
                return false;
            }
            let (piece, rest) = self.current.split_at(len.min(self.current.len()));
            give(piece);
            self.current = rest;
            len -= piece.len();
        }
        true
    }

    /// Moves on to the next part that holds anything.
    fn advance(&mut self) -> Option<()> {
        loop {
            self.current = self.rest.next()?;
            if !self.current.is_empty() {
                return Some(());
            }
        }
    }
}
