//! The usage journal: an append-only file per worker. One `write` per record makes it survive a `kill -9`
//! (the page cache keeps it); a background `fdatasync` bounds what a power cut takes.
//!
//! ```text
//! frame = length u32 LE | crc32 u32 LE | record, length bytes
//! ```
//! A record is written as MessagePack. Files of older versions hold JSON objects, which can still be read.
//! A torn last frame, which only a crash in the middle of a write can leave, fails its checksum and ends the
//! file: such a record was never acknowledged to anybody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::record::UsageRecord;

const HEADER: usize = 8;
/// No record is longer: it is bounded by the attempts of one request.
const LONGEST: usize = 1 << 20;
/// Some two thousand records of one attempt each.
const READ_AT_ONCE: u64 = 1 << 20;

/// Writes one file after the other.
#[derive(Debug)]
pub struct JournalWriter {
    dir: PathBuf,
    stem: String,
    sequence: u64,
    segment_bytes: u64,
    current: Option<(File, u64)>,
    frame: Vec<u8>,
    sync_each: bool,
}

impl JournalWriter {
    /// A writer of files `<stem>-<n>.journal` in `dir`; the stem must be unique per writer and process start.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(dir: &Path, stem: String, segment_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            stem,
            sequence: 0,
            segment_bytes,
            current: None,
            frame: Vec::with_capacity(1024),
            sync_each: false,
        })
    }

    /// Force each record to the disk before [`Self::append`] returns: for power cuts.
    #[must_use]
    pub fn syncing(mut self, each: bool) -> Self {
        self.sync_each = each;
        self
    }

    /// Append one record with one write. When this returns, a crash of the process does not lose it.
    ///
    /// # Errors
    /// When the disk refuses it; the record is then not in the journal, and a half-written frame is cut off.
    pub fn append(&mut self, record: &UsageRecord) -> io::Result<()> {
        self.encode(record)?;
        let (mut file, length) = self.segment()?;
        let synced = |file: &File| if self.sync_each { file.sync_data() } else { Ok(()) };
        let written = file.write_all(&self.frame).and_then(|()| synced(&file));
        let now = match &written {
            Ok(()) => length + self.frame.len() as u64,
            Err(_) => {
                file.set_len(length)?;
                file.seek(SeekFrom::Start(length))?;
                length
            }
        };
        self.current = (now < self.segment_bytes).then_some((file, now));
        written
    }

    fn encode(&mut self, record: &UsageRecord) -> io::Result<()> {
        self.frame.clear();
        self.frame.extend_from_slice(&[0; HEADER]);
        rmp_serde::encode::write(&mut self.frame, record).map_err(io::Error::other)?;
        let (header, body) = self.frame.split_at_mut(HEADER);
        let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let (first, second) = header.split_at_mut(4);
        first.copy_from_slice(&length.to_le_bytes());
        second.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        Ok(())
    }

    fn segment(&mut self) -> io::Result<(File, u64)> {
        if let Some(current) = self.current.take() {
            return Ok(current);
        }
        let path = self.dir.join(format!("{}-{:06}.journal", self.stem, self.sequence));
        self.sequence += 1;
        Ok((OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?, 0))
    }
}

/// Reads a file from where it stopped.
#[derive(Debug)]
pub struct JournalReader {
    path: PathBuf,
    offset: u64,
}

/// What a read brought.
#[derive(Debug)]
pub struct Batch<R = UsageRecord> {
    /// Whole records.
    pub records: Vec<R>,
    /// Where the next read starts once these are stored.
    pub next: u64,
    /// Bytes after the last whole record: a frame that is being written, or a torn one.
    pub rest: u64,
}

impl JournalReader {
    /// A reader at the start of the file.
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whole records from the current place, about a MiB of them, in any form that they fit;
    /// the place moves only with [`Self::advance`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read<R: DeserializeOwned>(&self) -> io::Result<Batch<R>> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.offset))?;
        let left = length.saturating_sub(self.offset).min(READ_AT_ONCE);
        let mut bytes = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
        (&file).take(READ_AT_ONCE).read_to_end(&mut bytes)?;
        if whole_frame(&bytes).is_none() {
            // A frame may be longer than what is read at once.
            file.take(LONGEST as u64).read_to_end(&mut bytes)?;
        }
        let (records, size) = decode(&bytes);
        let next = self.offset + size;
        Ok(Batch { records, next, rest: length.saturating_sub(next) })
    }

    /// What a batch brought is stored: go on at its [`Batch::next`]. Says whether that is further on.
    pub fn advance(&mut self, next: u64) -> bool {
        std::mem::replace(&mut self.offset, next) < next
    }
}

/// The records of all whole frames, and how many bytes these take.
fn decode<R: DeserializeOwned>(bytes: &[u8]) -> (Vec<R>, u64) {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((body, behind)) = whole_frame(rest) {
        rest = behind;
        match read_record(body) {
            Ok(record) => records.push(record),
            Err(error) => tracing::error!(error, "a usage record of another version was passed over"),
        }
    }
    (records, (bytes.len() - rest.len()) as u64)
}

fn read_record<R: DeserializeOwned>(body: &[u8]) -> Result<R, String> {
    if body.starts_with(b"{") {
        return serde_json::from_slice(body).map_err(|error| error.to_string());
    }
    rmp_serde::from_slice(body).map_err(|error| error.to_string())
}

/// The first frame's body and what follows it. `None` at the end, or when the frame is torn.
fn whole_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= LONGEST)?;
    let (body, behind) = rest.split_at_checked(length)?;
    (crc32fast::hash(body) == u32::from_le_bytes(*checksum)).then_some((body, behind))
}

/// The journal files of a directory, oldest first by name.
///
/// # Errors
/// When the directory cannot be read.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<_> = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::UnixMillis;
    use crate::usage::record::{AttemptRecord, Tokens};

    fn record(id: u32) -> UsageRecord {
        UsageRecord {
            request_id: format!("r{id}"),
            at: UnixMillis(1),
            key_id: None,
            connection: Some("c".into()),
            provider: None,
            model: None,
            requested_model: "m".into(),
            combo: None,
            status: 200,
            outcome: "success".into(),
            streamed: false,
            tokens: Tokens::default(),
            first_content_ms: None,
            total_ms: 3,
            session: None,
            attempts: vec![AttemptRecord { model: "m".into(), took_ms: 2, ..AttemptRecord::default() }],
        }
    }

    fn ids(dir: &Path) -> Vec<String> {
        let read = |path: PathBuf| JournalReader::new(path).read::<UsageRecord>().unwrap().records;
        files(dir).unwrap().into_iter().flat_map(read).map(|record| record.request_id).collect()
    }

    #[test]
    fn what_was_appended_is_read_back_over_several_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::new(dir.path(), "w".into(), 200).unwrap();

        (0..20).for_each(|n| writer.append(&record(n)).unwrap());

        assert!(files(dir.path()).unwrap().len() > 1);
        assert_eq!(ids(dir.path()), (0..20).map(|n| format!("r{n}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::new(dir.path(), "w".into(), u64::MAX).unwrap();
        writer.append(&record(1)).unwrap();
        let mut reader = JournalReader::new(files(dir.path()).unwrap().remove(0));
        let first = reader.read::<UsageRecord>().unwrap();
        reader.advance(first.next);

        writer.append(&record(2)).unwrap();
        let second = reader.read::<UsageRecord>().unwrap();

        assert_eq!(second.records, [record(2)]);
        assert_eq!(second.rest, 0);
    }

    #[test]
    fn a_file_of_an_older_version_can_still_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w-000000.journal");
        let attempt = AttemptRecord { connection: "c".into(), outcome: "success".into(), ..AttemptRecord::default() };
        let old = UsageRecord { attempts: vec![attempt], ..record(1) };
        let body = serde_json::to_vec(&old).unwrap();
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let frame = [&length, &crc32fast::hash(&body).to_le_bytes(), body.as_slice()].concat();
        fs::write(&path, frame).unwrap();

        let batch = JournalReader::new(path).read::<UsageRecord>().unwrap();

        assert_eq!((batch.records, batch.rest), (vec![old], 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_file_cut_anywhere_gives_every_whole_record_and_no_other(cut in 0usize..4_000) {
            let dir = tempfile::tempdir().unwrap();
            let mut writer = JournalWriter::new(dir.path(), "w".into(), u64::MAX).unwrap();
            (0..10).for_each(|n| writer.append(&record(n)).unwrap());
            let path = files(dir.path()).unwrap().remove(0);
            let bytes = fs::read(&path).unwrap();
            let cut = cut.min(bytes.len());
            fs::write(&path, &bytes[..cut]).unwrap();

            let batch = JournalReader::new(path).read::<UsageRecord>().unwrap();

            let size = bytes.len() / 10;
            prop_assert_eq!(batch.records.len(), cut / size);
        }
    }
}
