//! A file to which each entry is appended exactly once, whoever dies when: one line for each, which
//! people can read.
//!
//! ```text
//!  17 8ad2c04e 7 paid 30\n
//!  |  |        | content, then a line feed
//!  |  |        length of the content, in bytes
//!  |  CRC-32 (IEEE 802.3) of number, as 8 bytes little-endian, and content, in hexadecimal
//!  number of the entry; each line has the next one
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Error, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Entry, Sink};

/// The longest beginning of a line: number, checksum and length, each followed by a space.
const PREFIX_BYTES_MAX: u64 = 20 + 1 + 8 + 1 + 20 + 1;

/// A file that has each entry of an outbox exactly once and in order, from the first that it was
/// given on.
///
/// - The process dies in the middle of a line: what is left of it is cut off by the next one, to whom
///   the entry is delivered again. A line that is whole is recognized, and not written again.
/// - The page server dies: what is in the file was durable before.
/// - The machine of the file loses power: entries are removed from the heap only after the file was
///   brought on disk. Of the lines behind that, those before the first one that is damaged count.
/// - A deliverer was taken for dead and lives on: the file is locked as long as a `Journal` is open,
///   so that its successor is told so instead of writing beside it. This needs both on one machine, or
///   a file system whose locks hold between machines.
///
/// It is *not* exactly once if the file is exchanged, shortened or copied back while entries in it
/// have not been removed; a file that lacks entries in the middle takes no more. To begin a new file,
/// exchange it after a delivery that was [`Done`](super::Delivery::Done); an empty one begins with
/// whatever comes first.
#[derive(Debug)]
pub struct Journal {
    file: File,
    newest: u64,
    /// Where its whole lines end.
    end: u64,
    /// There is something behind the end.
    is_torn: bool,
}

impl Journal {
    /// Opens the file at `path`, or makes it; reads all of it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if somebody else has it open; whatever the file system answers.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path.as_ref())?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Error::new(
                ErrorKind::WouldBlock,
                format!("{} is being delivered to", path.as_ref().display()),
            ),
            other => other.into(),
        })?;
        let mut reader = BufReader::new(&file);
        let (mut newest, mut end) = (0, 0);
        while let Some((number, bytes)) = line(&mut reader)?
            && (newest == 0 || number == newest + 1)
        {
            newest = number;
            end += bytes;
        }
        let is_torn = file.metadata()?.len() > end;
        Ok(Self {
            file,
            newest,
            end,
            is_torn,
        })
    }
}

impl Journal {
    /// Cuts off what a deliverer that died has left behind the last whole line. Only now: when the
    /// file was opened, it was not known to belong to this outbox.
    fn cut(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.end)?;
            self.is_torn = false;
        }
        Ok(())
    }
}

impl Sink for Journal {
    fn newest(&self) -> u64 {
        self.newest
    }

    fn take(&mut self, entry: &Entry) -> io::Result<()> {
        let Entry { number, content } = entry;
        if self.newest > 0 && *number != self.newest + 1 {
            let newest = self.newest;
            let what = format!(
                "the file ends with entry {newest}, and {number} comes next: those between were \
                 delivered elsewhere; use the file that has them, or begin a new one"
            );
            return Err(Error::new(ErrorKind::InvalidData, what));
        }
        self.cut()?;
        let mut line = format!(
            "{number} {:08x} {} ",
            checksum(*number, content),
            content.len()
        )
        .into_bytes();
        line.extend_from_slice(content);
        line.push(b'\n');
        // Until all of it is there, what is behind the end is no whole line.
        self.is_torn = true;
        self.file.write_all_at(&line, self.end)?;
        self.is_torn = false;
        self.newest = *number;
        self.end += line.len() as u64;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        self.cut()?;
        self.file.sync_all()
    }
}

/// The number of the next line, and its length in bytes; `None` if it is no whole one.
fn line(reader: &mut impl io::BufRead) -> io::Result<Option<(u64, u64)>> {
    let mut prefix = Vec::new();
    for _ in 0..3 {
        let left = PREFIX_BYTES_MAX - prefix.len() as u64;
        reader.by_ref().take(left).read_until(b' ', &mut prefix)?;
    }
    let Some([number, crc, length]) = parse(&prefix) else {
        return Ok(None);
    };
    // What is not there is not made room for.
    let mut content = Vec::new();
    let wanted = length.saturating_add(1);
    reader.by_ref().take(wanted).read_to_end(&mut content)?;
    let is_whole = content.len() as u64 == wanted && content.pop() == Some(b'\n');
    if !is_whole || u64::from(checksum(number, &content)) != crc {
        return Ok(None);
    }
    Ok(Some((number, prefix.len() as u64 + wanted)))
}

/// Number, checksum and length.
fn parse(prefix: &[u8]) -> Option<[u64; 3]> {
    let mut words = std::str::from_utf8(prefix)
        .ok()?
        .strip_suffix(' ')?
        .split(' ');
    let number = words.next()?.parse().ok()?;
    let crc = u64::from_str_radix(words.next()?, 16).ok()?;
    let length = words.next()?.parse().ok()?;
    words.next().is_none().then_some([number, crc, length])
}

fn checksum(number: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn entry(number: u64, content: &[u8]) -> Entry {
        Entry {
            number,
            content: content.to_vec(),
        }
    }

    fn entries(contents: &[Vec<u8>]) -> Vec<Entry> {
        let numbered = (1..).zip(contents);
        numbered
            .map(|(number, content)| entry(number, content))
            .collect()
    }

    #[test]
    fn a_line_is_as_documented() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        Journal::open(&path)
            .unwrap()
            .take(&entry(17, b"paid 30"))
            .unwrap();
        let crc = checksum(17, b"paid 30");
        let expected = format!("17 {crc:08x} 7 paid 30\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn one_at_a_time_has_it_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let first = Journal::open(&path).unwrap();
        let second = Journal::open(&path).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::WouldBlock);
        drop(first);
        Journal::open(&path).unwrap();
    }

    #[test]
    fn a_gap_is_refused_and_an_empty_file_begins_anywhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.take(&entry(5, b"")).unwrap();
        let before = fs::read(&path).unwrap();
        let gap = journal.take(&entry(7, b"x")).unwrap_err();
        assert_eq!(gap.kind(), ErrorKind::InvalidData);
        assert_eq!(fs::read(&path).unwrap(), before);
        journal.take(&entry(6, b"x")).unwrap();
        assert_eq!(journal.newest(), 6);
    }

    proptest! {
        /// Wherever it was torn, and whatever then stands behind the tear, each entry is there once
        /// in the end.
        #[test]
        fn what_was_torn_is_made_whole(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
            cut in any::<prop::sample::Index>(),
            noise in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("journal");
            let entries = entries(&contents);
            let mut journal = Journal::open(&path).unwrap();
            entries.iter().try_for_each(|entry| journal.take(entry)).unwrap();
            drop(journal);
            let whole = fs::read(&path).unwrap();
            let mut torn = whole[..cut.index(whole.len() + 1)].to_vec();
            torn.extend(noise);
            fs::write(&path, torn).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let newest = journal.newest();
            let mut left = entries.iter().filter(|entry| entry.number > newest);
            left.try_for_each(|entry| journal.take(entry)).unwrap();
            journal.settle().unwrap();
            drop(journal);
            prop_assert_eq!(fs::read(&path).unwrap(), whole.clone());
            prop_assert_eq!(Journal::open(&path).unwrap().newest(), entries.len() as u64);
        }

        #[test]
        fn what_is_no_journal_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            line(&mut &bytes[..]).unwrap();
        }
    }
}
