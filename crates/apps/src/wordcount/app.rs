//! The word count on the heap: the text enters the heap first, its chunks are activities, and their
//! counts go into one table.
//!
//! ```text
//!  root "wordcount" ─► Count ─┬─► chunks: the text of each, and how far it has been merged
//!                             └─► table: sixteen partitions
//! ```
//!
//! A chunk is counted in the station's own memory and merged partition by partition. Each of these
//! transactions also notes in the chunk that the partition was merged, so a successor counts again
//! but merges only what is missing: exactly once, in transactions that are small however large the
//! chunk is. Stations begin with different partitions, and so hardly ever meet.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use plurix::activity::{Activity, Done, Work};
use plurix::{Ptr, Result, Station, Transaction, plain};
use zerocopy::IntoBytes;

use super::reader::ChunkReader;
use super::table::{self, PARTITIONS, Table};
use super::{Counts, tally};
use crate::app::{App, AppError, Progress, Report};
use crate::output::{check_file, write_file};
use crate::run::{self, Fingerprint, Run};

const READ_BYTES: usize = 1 << 18;

/// Options of the word count.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(
    after_help = "A word is what white space separates, and no word goes on in the next file. The counts are
those of:
  cat FILE... | LC_ALL=C tr -s '[:space:]' '\\n' | sed '/^$/d' | LC_ALL=C sort | uniq -c

Examples:
  plurix run wordcount --stations 3 README.md
  plurix run wordcount --stations 4 --kill 1@500ms --out counts.txt corpus/*.txt"
)]
pub struct Options {
    /// Texts to count
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where to put the counts [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Least length of a chunk, the unit of work
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20,
          value_parser = clap::value_parser!(u64).range(256..=4 << 20))]
    pub chunk_bytes: u64,
}

impl Options {
    /// The defaults for `files`, with the counts on standard output.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            out: None,
            chunk_bytes: 1 << 20,
        }
    }
}

/// The word count as an application.
#[derive(Debug)]
pub struct Wordcount {
    options: Options,
    /// Length of all files.
    text_bytes: u64,
    /// How many chunks they make at most.
    chunks_max: u64,
    fingerprint: Fingerprint,
}

/// What the heap holds of a run.
#[plain]
struct Count {
    fingerprint: Fingerprint,
    table: Table,
    chunks: Ptr<[Chunk]>,
    /// How many of the chunks are in the heap and have their activity.
    loaded: u64,
    /// 1 once that is all of them.
    is_loaded: u64,
}

impl Run for Count {
    const NAME: &'static str = "wordcount";

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// A piece of the text, alone in its line.
#[plain]
#[derive(Default)]
#[repr(C, align(64))]
struct Chunk {
    /// Null once it was counted: the text is freed then.
    text: Ptr<[u8]>,
    /// How many partitions its counts were merged into.
    merged: u64,
    /// How many words it has.
    words: u64,
    is_counted: u64,
    reserved: [u64; 3],
}

/// Enables a station to count chunks.
pub fn register(station: &mut Station) {
    station.register::<CountChunk>();
}

/// The activity that counts one chunk.
struct CountChunk;

#[plain]
struct ChunkJob {
    count: Ptr<Count>,
    chunk: Ptr<Chunk>,
    index: u64,
}

impl Activity for CountChunk {
    const NAME: &'static str = "wordcount.chunk";
    type Argument = ChunkJob;
    type Output = ();

    fn run(mut work: Work<'_, Self>, job: ChunkJob) -> Result<Done<Self>> {
        let (table, place, text) = work.transaction(|tx| {
            let place = tx.get(job.chunk)?.text;
            Ok((tx.get(job.count)?.table, place, tx.get(place)?.to_vec()))
        })?;
        let counts = tally(&text);
        let words: u64 = counts.values().sum();
        let partitions = table::partition(counts);
        for step in 0..PARTITIONS as u64 {
            let partition = &partitions[(job.index + step) as usize % PARTITIONS];
            work.transaction(|tx| {
                if tx.get(job.chunk)?.merged == step {
                    table.merge(tx, partition)?;
                    tx.get_mut(job.chunk)?.merged += 1;
                }
                Ok(())
            })?;
        }
        work.complete(|tx| {
            tx.free(place)?;
            let chunk = tx.get_mut(job.chunk)?;
            (chunk.text, chunk.words, chunk.is_counted) = (Ptr::null(), words, 1);
            Ok(())
        })
    }
}

impl Wordcount {
    /// Looks at the files.
    ///
    /// # Errors
    /// [`AppError::File`] if one cannot be read, or that of the counts not be written.
    pub fn new(options: Options) -> Result<Self, AppError> {
        let (mut text_bytes, mut chunks_max) = (0, 0);
        let mut stamps = vec![options.chunk_bytes];
        for path in &options.files {
            let metadata = File::open(path).and_then(|file| file.metadata());
            let metadata = metadata.map_err(AppError::file(path))?;
            if metadata.is_dir() {
                return Err(AppError::file(path)(io::ErrorKind::IsADirectory.into()));
            }
            text_bytes += metadata.len();
            chunks_max += metadata.len().div_ceil(options.chunk_bytes.max(1));
            let changed = [metadata.mtime() as u64, metadata.mtime_nsec() as u64];
            stamps.extend([metadata.len(), changed[0], changed[1]]);
        }
        if let Some(path) = &options.out {
            check_file(path)?;
        }
        // To read a large text twice for a checksum would take longer than to count it.
        let fingerprint = run::fingerprint([stamps.as_bytes()]);
        Ok(Self {
            options,
            text_bytes,
            chunks_max,
            fingerprint,
        })
    }

    /// Puts the chunks that are not there yet into the heap, with their activities.
    fn load(&self, station: &mut Station, count: Ptr<Count>, loaded: u64) -> Result<(), AppError> {
        let mut index = 0;
        for path in &self.options.files {
            let file = File::open(path).map_err(AppError::file(path))?;
            let source = BufReader::with_capacity(READ_BYTES, file);
            let mut reader = ChunkReader::new(source, self.options.chunk_bytes as usize);
            while let Some(text) = reader.next().map_err(AppError::file(path))? {
                if index == self.chunks_max {
                    let path = path.display();
                    return Err(AppError::Input(format!("{path} grew while it was read")));
                }
                if index >= loaded {
                    station.transaction(|tx| add_chunk(tx, count, index, &text))?;
                }
                index += 1;
            }
        }
        station.transaction(|tx| {
            tx.get_mut(count)?.is_loaded = 1;
            Ok(())
        })?;
        Ok(())
    }

    fn write(&self, counts: &Counts<'_>) -> Result<(), AppError> {
        if let Some(path) = &self.options.out {
            return write_file(path, |out| super::write(out, counts));
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        match super::write(&mut out, counts).and_then(|()| out.flush()) {
            // Whoever reads may have seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(AppError::file("standard output")),
        }
    }
}

/// Puts chunk `index` into the heap and spawns its activity, unless that was done.
fn add_chunk(tx: &mut Transaction<'_>, ptr: Ptr<Count>, index: u64, text: &[u8]) -> Result<()> {
    let count = *tx.get(ptr)?;
    if count.loaded > index {
        return Ok(());
    }
    let chunk = run::element(count.chunks, index as usize)?;
    let text = tx.alloc_slice_from(text)?;
    tx.set(
        chunk,
        Chunk {
            text,
            ..Chunk::default()
        },
    )?;
    tx.spawn::<CountChunk>(ChunkJob {
        count: ptr,
        chunk,
        index,
    })?;
    tx.get_mut(ptr)?.loaded = index + 1;
    Ok(())
}

impl App for Wordcount {
    fn register(&self, station: &mut Station) {
        register(station);
    }

    fn setup(&mut self, station: &mut Station) -> Result<(), AppError> {
        let (ptr, count) = run::open(station, self.fingerprint, |tx| {
            Ok(Count {
                fingerprint: self.fingerprint,
                table: Table::new(tx, self.text_bytes)?,
                chunks: tx.alloc_slice(self.chunks_max as usize)?,
                loaded: 0,
                is_loaded: 0,
            })
        })?;
        if count.is_loaded == 0 {
            self.load(station, ptr, count.loaded)?;
        }
        Ok(())
    }

    fn progress(&mut self, station: &mut Station) -> Result<Progress, AppError> {
        run::check_failures(station)?;
        let (_, chunks) = station.transaction(|tx| loaded(tx))?;
        let done = chunks.iter().filter(|chunk| chunk.is_counted != 0).count() as u64;
        Ok(Progress {
            done,
            total: chunks.len() as u64,
            unit: "chunks",
        })
    }

    fn finish(&mut self, station: &mut Station) -> Result<Report, AppError> {
        station.latest()?;
        let (table, chunks) = station.transaction(|tx| loaded(tx))?;
        if chunks.iter().any(|chunk| chunk.is_counted == 0) {
            return Err(AppError::Unfinished { app: Count::NAME });
        }
        let mut words = Vec::new();
        for partition in 0..PARTITIONS {
            words.extend(station.transaction(|tx| table.words(tx, partition))?);
        }
        let counts: Counts<'_> = words
            .iter()
            .map(|(word, count)| (&word[..], *count))
            .collect();
        self.write(&counts)?;
        let counted: u64 = counts.values().sum();
        let verified = counted == chunks.iter().map(|chunk| chunk.words).sum::<u64>();
        Ok(Report {
            facts: Vec::new(),
            verified,
        }
        .with("bytes", self.text_bytes)
        .with("chunks", chunks.len())
        .with("words", counted)
        .with("distinct words", counts.len()))
    }
}

/// The table, and the chunks that are in the heap.
fn loaded(tx: &Transaction<'_>) -> Result<(Table, Vec<Chunk>)> {
    let count = run::find::<Count>(tx)?;
    let chunks = tx.get(count.chunks)?.iter().take(count.loaded as usize);
    Ok((count.table, chunks.copied().collect()))
}
