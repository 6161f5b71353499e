//! The last known good state as a file: frames of bytes with their checksums, a stamp that says when, and nothing about what
//! the bytes mean. The one part of the lower layers that names files, a thread and the wall clock.
//!
//! A file is replaced whole and at once, or not at all; what is damaged is set aside and told, and its whole frames are
//! still handed out. Nothing here ever holds up who serves: writing happens on a thread of its own ([`keeper`]), and
//! what fails is counted, told once, and tried again.
//!
//! The wall clock decides about nothing but the age of a file, and where a machine says how long it has been up, not even
//! about that ([`clock`]).

pub mod clock;
pub mod directory;
pub mod keeper;
pub mod metrics;

use std::fmt;
use std::io::{self, Write};

use prost::Message;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::proto::state::Stamp;

/// How every file begins.
const MAGIC: &[u8; 8] = b"chandler";
/// What follows it: raised when an older Chandler would misunderstand what a newer one wrote.
const FORMAT: u32 = 1;
/// A length, four bytes, and a checksum, eight.
const FRAME_HEAD: usize = 12;
/// No frame of ours is larger; one service with a hundred thousand endpoints fits in.
const LARGEST_FRAME: usize = 256 << 20;
/// No file of ours is larger: a million endpoints take a twentieth of it. What is larger is neither written nor read.
pub const LARGEST: u64 = 2 << 30;

/// Writes frames, one after the other.
pub struct Frames<'a> {
    out: &'a mut dyn Write,
    index: u64,
    bytes: u64,
}

impl fmt::Debug for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames")
            .field("index", &self.index)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<'a> Frames<'a> {
    /// Begins a file in `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(out: &'a mut dyn Write, stamp: &Stamp) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        out.write_all(&FORMAT.to_le_bytes())?;
        let mut frames = Self { out, index: 0, bytes: 0 };
        frames.put(&stamp.encode_to_vec())?;
        Ok(frames)
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// Those of `out`, and that the file would be too large.
    pub fn put(&mut self, frame: &[u8]) -> io::Result<()> {
        self.bytes += (frame.len() + FRAME_HEAD) as u64;
        let length = u32::try_from(frame.len()).ok().filter(|_| frame.len() <= LARGEST_FRAME);
        let Some(length) = length.filter(|_| self.bytes <= LARGEST) else {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "there is more to save than a file may hold",
            ));
        };
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&checksum(self.index, frame).to_le_bytes())?;
        self.index += 1;
        self.out.write_all(frame)
    }

    /// Ends the file: without this one it counts as cut. Returns its size.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end(mut self) -> io::Result<u64> {
        self.put(&[])?;
        self.out.flush()?;
        Ok(self.bytes + (MAGIC.len() + FORMAT.to_le_bytes().len()) as u64)
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no state of ours.
    #[error("it is no state file of chandler")]
    NotOurs,
    /// Another Chandler wrote it, in a way that this one does not know.
    #[error(
        "it has format {0}, and this chandler knows format {FORMAT} only: it was written by another version"
    )]
    Format(u32),
    /// Its end is missing.
    #[error("it is cut off after {0} bytes")]
    Cut(usize),
    /// Bytes of it have changed since they were written.
    #[error("{0} of its parts are damaged, the first at byte {1}")]
    Damaged(usize, usize),
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents<'a> {
    /// When it was saved; absent: that is damaged.
    pub stamp: Option<Stamp>,
    /// Its whole frames, in order, without the stamp.
    pub frames: Vec<&'a [u8]>,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// Reads a file, as far as it is whole.
#[must_use]
pub fn read(bytes: &[u8]) -> Contents<'_> {
    let nothing = |fault| Contents { fault: Some(fault), ..Contents::default() };
    let Some((format, mut rest)) = bytes.strip_prefix(MAGIC).and_then(|b| b.split_first_chunk()) else {
        return nothing(Fault::NotOurs);
    };
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return nothing(Fault::Format(format));
    }
    let mut contents = Contents::default();
    let (mut index, mut damaged) = (0, None::<(usize, usize)>);
    loop {
        let at = bytes.len() - rest.len();
        let Some((frame, sum, after)) = next(rest) else {
            contents.fault = Some(Fault::Cut(at));
            return contents;
        };
        if checksum(index, frame) != sum {
            damaged = Some(damaged.map_or((1, at), |(count, first)| (count + 1, first)));
        } else if frame.is_empty() && index > 0 {
            break;
        } else if index == 0 {
            contents.stamp = Stamp::decode(frame).ok();
        } else {
            contents.frames.push(frame);
        }
        index += 1;
        rest = after;
    }
    contents.fault = damaged.map(|(count, first)| Fault::Damaged(count, first));
    contents
}

/// The frame at the start of `bytes`, its checksum, and what follows it.
fn next(bytes: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (frame, rest) = rest.split_at_checked(length)?;
    Some((frame, u64::from_le_bytes(*sum), rest))
}

/// Of a frame in its place: one that stands elsewhere is damage too.
fn checksum(index: u64, frame: &[u8]) -> u64 {
    xxh3_64_with_seed(frame, index)
}

#[cfg(test)]
mod tests;
