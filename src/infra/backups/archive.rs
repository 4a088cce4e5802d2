//! The full archive: everything that an operator made, as files in a `.tar.gz`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// One file of the archive.
#[derive(Debug)]
pub enum Part {
    /// Text.
    Text(&'static str, String),
    /// A file on the disk.
    File(&'static str, PathBuf),
}

/// Write the archive to a new file of this owner alone. Blocking.
///
/// # Errors
/// What the file system said.
pub fn write(to: &Path, parts: &[Part], at_s: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for part in parts {
        match part {
            Part::Text(name, text) => add(&mut archive, name, text.as_bytes(), text.len() as u64, at_s)?,
            Part::File(name, path) => {
                let file = File::open(path)?;
                let size = file.metadata()?.len();
                add(&mut archive, name, file, size, at_s)?;
            }
        }
    }
    archive.into_inner()?.finish()?.flush()
}

fn add<W: Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    content: impl io::Read,
    size: u64,
    at_s: u64,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(at_s);
    archive.append_data(&mut header, name, content)
}
