//! The message log: every frame numbered, kept in memory, then in a scratch file, both bounded, until nobody needs it.
//!
//! Recent frames are in memory; when they pass the memory bound, the oldest are written to the scratch file in blocks. When that
//! is full, too, the oldest block is dropped, and whoever still wanted to read it learns of the gap.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustix::fs::{FallocateFlags, Mode, OFlags};

/// Frames are written to the scratch file in blocks of about this size.
const BLOCK: usize = 64 * 1024;
/// About as many bytes are handed to a reader at once.
const CHUNK: usize = 64 * 1024;
/// A log that held so many bytes in memory has left a large heap behind.
const LARGE: usize = 512 * 1024;
/// What one entry costs beside its frame.
const OVERHEAD: usize = 64;

/// Who an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// Every connection.
    Everyone,
    /// Control connections only: traces of the shim's own requests.
    Watchers,
    /// One session.
    Session(u32),
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes in memory.
    pub(crate) memory: usize,
    /// Bytes in the scratch file.
    pub(crate) scratch: u64,
}

/// Frames for one reader, and the number to read on from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Frames with their numbers.
    pub(crate) frames: Vec<(u64, Bytes)>,
    /// Where to go on.
    pub(crate) next: u64,
}

/// Numbers that a reader wanted and that are gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

pub(crate) struct Log {
    bounds: Bounds,
    scratch: Option<Scratch>,
    recent: VecDeque<(Route, Bytes)>,
    recent_bytes: usize,
    /// Most bytes in memory since the log was last empty.
    peak: usize,
    /// Number of the next entry.
    next: u64,
}

impl Log {
    /// An empty log; numbers begin with 1. Without a scratch file there is memory only.
    pub(crate) fn new(bounds: Bounds, scratch: Option<File>) -> Log {
        let scratch = scratch.map(|file| Scratch { file, blocks: VecDeque::new(), end: 0, bytes: 0 });
        Log { bounds, scratch, recent: VecDeque::new(), recent_bytes: 0, peak: 0, next: 1 }
    }

    /// Number of the oldest entry kept; the same as [`Log::next`] when there is none.
    pub(crate) fn first(&self) -> u64 {
        let blocks = self.scratch.as_ref().and_then(|scratch| scratch.blocks.front());
        blocks.map_or(self.first_recent(), |block| block.first)
    }

    /// Number that the next entry gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Adds the frame made for its number. `wanted`: somebody has yet to read it, so it may cost scratch space.
    pub(crate) fn append(&mut self, route: Route, wanted: bool, frame: impl FnOnce(u64) -> Bytes) {
        let frame = frame(self.next);
        self.next += 1;
        self.recent_bytes += frame.len() + OVERHEAD;
        self.recent.push_back((route, frame));
        self.peak = self.peak.max(self.recent_bytes);
        while self.recent_bytes > self.bounds.memory {
            self.shrink(wanted);
        }
    }

    /// Forgets everything up to `acked`. Returns true when that emptied a log that had grown large.
    pub(crate) fn trim(&mut self, acked: u64) -> bool {
        if let Some(scratch) = &mut self.scratch {
            while scratch.blocks.front().is_some_and(|block| block.last <= acked) {
                scratch.drop_front();
            }
            if !scratch.blocks.is_empty() {
                return false;
            }
        }
        while self.first_recent() <= acked && self.pop().is_some() {}
        if !self.recent.is_empty() || self.peak < LARGE {
            return false;
        }
        self.recent.shrink_to(64);
        self.peak = 0;
        true
    }

    /// Frames from number `from` on that `wants` accepts, about [`CHUNK`] bytes of them.
    pub(crate) fn read(&self, from: u64, wants: impl Fn(Route) -> bool) -> Result<Chunk, Gap> {
        if from < self.first() {
            return Err(Gap { first: from, last: self.first() - 1 });
        }
        if from < self.first_recent()
            && let Some(scratch) = &self.scratch
            && let Some(block) = scratch.blocks.iter().find(|block| from <= block.last)
        {
            let frames = scratch.read(block).ok_or(Gap { first: from, last: block.last })?;
            let mine = frames
                .into_iter()
                .zip(block.first..)
                .filter(|((route, _), seq)| *seq >= from && wants(*route));
            return Ok(Chunk {
                frames: mine.map(|((_, frame), seq)| (seq, frame)).collect(),
                next: block.last + 1,
            });
        }
        let skip = (from - self.first_recent()) as usize;
        let mut chunk = Chunk { frames: Vec::new(), next: from };
        let mut size = 0;
        for (route, frame) in self.recent.iter().skip(skip) {
            if size >= CHUNK {
                break;
            }
            if wants(*route) {
                size += frame.len();
                chunk.frames.push((chunk.next, frame.clone()));
            }
            chunk.next += 1;
        }
        Ok(chunk)
    }

    fn first_recent(&self) -> u64 {
        self.next - self.recent.len() as u64
    }

    fn pop(&mut self) -> Option<(Route, Bytes)> {
        let entry = self.recent.pop_front()?;
        self.recent_bytes -= entry.1.len() + OVERHEAD;
        Some(entry)
    }

    /// Moves the oldest entries from memory to scratch; drops them when nobody wants them or there is no room.
    fn shrink(&mut self, wanted: bool) {
        let first = self.first_recent();
        let mut block = BytesMut::new();
        while block.len() < BLOCK
            && let Some((route, frame)) = self.pop()
        {
            put_record(&mut block, route, &frame);
        }
        let last = self.first_recent() - 1;
        let Some(scratch) = &mut self.scratch else { return };
        let length = block.len() as u64;
        while scratch.bytes + length > self.bounds.scratch && !scratch.blocks.is_empty() {
            scratch.drop_front();
        }
        if !wanted || length > self.bounds.scratch || scratch.append(first, last, &block).is_err() {
            // The numbers kept must be without holes: what is older than a dropped block is dropped, too.
            while !scratch.blocks.is_empty() {
                scratch.drop_front();
            }
        }
    }
}

/// Opens a file without a name in `folder`, for [`Log::new`].
pub(crate) fn scratch_file(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?.into())
}

struct Scratch {
    file: File,
    blocks: VecDeque<Block>,
    /// Where the next block goes; space in front of the first block is given back as holes.
    end: u64,
    bytes: u64,
}

struct Block {
    first: u64,
    last: u64,
    offset: u64,
    length: u64,
}

impl Scratch {
    fn append(&mut self, first: u64, last: u64, block: &[u8]) -> io::Result<()> {
        self.file.write_all_at(block, self.end)?;
        let length = block.len() as u64;
        self.blocks.push_back(Block { first, last, offset: self.end, length });
        self.end += length;
        self.bytes += length;
        Ok(())
    }

    fn drop_front(&mut self) {
        let Some(block) = self.blocks.pop_front() else { return };
        self.bytes -= block.length;
        // Failing to give space back is no reason to lose messages; the bound on `bytes` still holds.
        if self.blocks.is_empty() {
            self.end = 0;
            self.file.set_len(0).ok();
        } else {
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&self.file, punch, block.offset, block.length).ok();
        }
    }

    /// The entries of a block; `None` when the file does not hold what was written.
    fn read(&self, block: &Block) -> Option<Vec<(Route, Bytes)>> {
        let mut bytes = vec![0; usize::try_from(block.length).ok()?];
        self.file.read_exact_at(&mut bytes, block.offset).ok()?;
        let mut bytes = Bytes::from(bytes);
        let count = usize::try_from(block.last - block.first + 1).ok()?;
        let mut entries = Vec::with_capacity(count);
        while !bytes.is_empty() {
            entries.push(get_record(&mut bytes)?);
        }
        (entries.len() == count).then_some(entries)
    }
}

fn put_record(out: &mut BytesMut, route: Route, frame: &[u8]) {
    out.reserve(12 + frame.len());
    out.put_u64_le(match route {
        Route::Everyone => 0,
        Route::Watchers => 1,
        Route::Session(id) => 2 + u64::from(id),
    });
    out.put_u32_le(frame.len() as u32);
    out.put_slice(frame);
}

fn get_record(bytes: &mut Bytes) -> Option<(Route, Bytes)> {
    let route = match bytes.try_get_u64_le().ok()? {
        0 => Route::Everyone,
        1 => Route::Watchers,
        id => Route::Session(u32::try_from(id - 2).ok()?),
    };
    let length = bytes.try_get_u32_le().ok()? as usize;
    (length <= bytes.len()).then(|| (route, bytes.split_to(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(memory: usize, scratch: u64) -> Log {
        Log::new(Bounds { memory, scratch }, Some(scratch_file(&std::env::temp_dir()).unwrap()))
    }

    /// A frame of 1000 bytes that says its number.
    fn frame(seq: u64) -> Bytes {
        let mut frame = seq.to_le_bytes().to_vec();
        frame.resize(1000, 7);
        frame.into()
    }

    fn fill(log: &mut Log, count: u64, route: impl Fn(u64) -> Route) {
        for _ in 0..count {
            let route = route(log.next());
            log.append(route, true, frame);
        }
    }

    fn read_all(log: &Log, mut from: u64, wants: impl Fn(Route) -> bool) -> Result<Vec<u64>, Gap> {
        let mut seen = Vec::new();
        loop {
            let chunk = log.read(from, &wants)?;
            for (seq, bytes) in &chunk.frames {
                assert_eq!(*bytes, frame(*seq));
            }
            seen.extend(chunk.frames.iter().map(|(seq, _)| *seq));
            if chunk.next == from {
                return Ok(seen);
            }
            from = chunk.next;
        }
    }

    #[test]
    fn memory_then_scratch_read_as_one() {
        let mut log = log(100_000, 10_000_000);
        fill(&mut log, 2000, |_| Route::Everyone);
        assert_eq!((log.first(), log.next()), (1, 2001));
        assert!(log.recent_bytes <= 100_000 && log.recent.len() < 100);
        for from in [1, 2, 63, 64, 65, 66, 1900, 1999, 2000] {
            assert_eq!(read_all(&log, from, |_| true).unwrap(), (from..=2000).collect::<Vec<_>>());
        }
        assert_eq!(read_all(&log, 2001, |_| true).unwrap(), Vec::<u64>::new());
    }

    #[test]
    fn readers_get_their_entries_only() {
        let mut log = log(100_000, 10_000_000);
        fill(&mut log, 600, |seq| match seq % 3 {
            0 => Route::Everyone,
            1 => Route::Watchers,
            _ => Route::Session((seq % 2) as u32),
        });
        let mine = read_all(&log, 1, |route| route == Route::Session(1)).unwrap();
        assert_eq!(mine, (1..=600).filter(|seq| seq % 3 == 2 && seq % 2 == 1).collect::<Vec<u64>>());
    }

    #[test]
    fn acknowledged_entries_are_forgotten_and_space_is_given_back() {
        let mut log = log(100_000, 10_000_000);
        fill(&mut log, 2000, |_| Route::Everyone);
        log.trim(1000);
        assert!(log.first() <= 1001 && log.first() > 900, "{}", log.first());
        assert_eq!(read_all(&log, 1001, |_| true).unwrap().len(), 1000);
        log.trim(2000);
        assert_eq!((log.first(), log.recent_bytes), (2001, 0));
        let scratch = log.scratch.as_ref().unwrap();
        assert_eq!((scratch.bytes, scratch.end, scratch.file.metadata().unwrap().len()), (0, 0, 0));
        assert!(!log.trim(u64::MAX));
        fill(&mut log, 1, |_| Route::Everyone);
        assert_eq!(read_all(&log, 2001, |_| true).unwrap(), [2001]);
    }

    #[test]
    fn beyond_the_bounds_the_oldest_go_and_the_gap_is_named() {
        let mut log = log(100_000, 300_000);
        fill(&mut log, 2000, |_| Route::Everyone);
        let first = log.first();
        assert!((1600..1800).contains(&first), "{first}");
        assert_eq!(log.read(5, |_| true), Err(Gap { first: 5, last: first - 1 }));
        assert_eq!(read_all(&log, first, |_| true).unwrap(), (first..=2000).collect::<Vec<_>>());
    }

    #[test]
    fn what_nobody_wants_costs_no_scratch_space() {
        let mut log = log(100_000, 300_000);
        for _ in 0..2000 {
            log.append(Route::Everyone, false, frame);
        }
        assert_eq!(log.scratch.as_ref().unwrap().bytes, 0);
        assert!(log.first() > 1900);
    }

    #[test]
    fn says_once_when_a_large_log_became_empty() {
        let mut log = log(10_000_000, 0);
        fill(&mut log, 1000, |_| Route::Everyone);
        assert!(!log.trim(999));
        assert!(log.trim(1000));
        fill(&mut log, 1, |_| Route::Everyone);
        assert!(!log.trim(1001));
    }

    #[test]
    fn an_entry_larger_than_everything_is_dropped_alone() {
        let mut log = log(10_000, 10_000);
        fill(&mut log, 3, |_| Route::Everyone);
        log.append(Route::Everyone, true, |_| vec![0; 100_000].into());
        assert_eq!((log.first(), log.next(), log.recent_bytes), (5, 5, 0));
        fill(&mut log, 1, |_| Route::Everyone);
        assert_eq!(read_all(&log, 5, |_| true).unwrap(), [5]);
    }

    #[test]
    fn a_damaged_scratch_file_is_a_gap_and_no_panic() {
        let mut log = log(100_000, 10_000_000);
        fill(&mut log, 2000, |_| Route::Everyone);
        log.scratch.as_ref().unwrap().file.set_len(10).unwrap();
        let gap = log.read(1, |_| true).unwrap_err();
        assert_eq!(gap.first, 1);
        assert!(gap.last > 1 && gap.last < 100);
        log.scratch.as_ref().unwrap().file.write_all_at(&[0xff; 200_000], 0).unwrap();
        assert_eq!(log.read(1, |_| true).unwrap_err(), gap);
    }
}
