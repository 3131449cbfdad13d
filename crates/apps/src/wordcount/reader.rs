//! Cuts a file into chunks while it is read, so that a text need not fit into memory.

use std::io::{self, BufRead, Read};

use super::is_space;

/// The longest part of a word beyond the target length of a chunk. With it, a chunk still fits into
/// one commit.
pub(super) const OVERHANG_BYTES_MAX: usize = 4 << 20;

/// Cuts what `source` gives into the chunks that [`chunks`](super::chunks) would cut the whole text
/// into.
pub(super) struct ChunkReader<R> {
    source: R,
    target: usize,
}

impl<R: BufRead> ChunkReader<R> {
    /// Chunks of at least `target` bytes each, but for the last.
    pub(super) fn new(source: R, target: usize) -> Self {
        Self {
            source,
            target: target.max(1),
        }
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// What the source answers, or that a word is too long.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = Vec::with_capacity(self.target);
        (&mut self.source)
            .take(self.target as u64)
            .read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(None);
        }
        if chunk.len() == self.target {
            self.finish_word(&mut chunk)?;
        }
        Ok(Some(chunk))
    }

    /// Appends what comes before the next white space.
    fn finish_word(&mut self, chunk: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let ahead = match self.source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                ahead => ahead?,
            };
            let space = ahead.iter().position(|&byte| is_space(byte));
            let length = space.unwrap_or(ahead.len());
            if chunk.len() + length > self.target + OVERHANG_BYTES_MAX {
                let why =
                    format!("a word has more than {OVERHANG_BYTES_MAX} bytes; is this a text?");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            chunk.extend_from_slice(&ahead[..length]);
            let is_end = ahead.is_empty();
            self.source.consume(length);
            if space.is_some() || is_end {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::super::chunks;
    use super::*;

    fn read(text: &[u8], target: usize, buffer: usize) -> io::Result<Vec<Vec<u8>>> {
        let mut reader = ChunkReader::new(BufReader::with_capacity(buffer, text), target);
        let mut all = Vec::new();
        while let Some(chunk) = reader.next()? {
            all.push(chunk);
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn a_file_is_cut_as_a_text_in_memory(
            text in "[a \n]{0,200}", target in 0usize..50, buffer in 1usize..30,
        ) {
            let text = text.as_bytes();
            let expected: Vec<_> = chunks(text, target).into_iter().map(|range| text[range].to_vec()).collect();
            prop_assert_eq!(read(text, target, buffer).unwrap(), expected);
        }
    }

    #[test]
    fn a_word_without_end_is_refused() {
        let word = vec![b'a'; OVERHANG_BYTES_MAX + 8];
        assert!(read(&word, 1, 1 << 16).is_err());
        assert_eq!(read(&word[8..], 1, 1 << 16).unwrap().len(), 1);
    }
}
