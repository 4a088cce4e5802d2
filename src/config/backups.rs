//! The section about copies of the embedded database.

use std::path::PathBuf;

use super::section::section;

section! {
    /// Copies of the embedded database. A PostgreSQL server has its own ways (`pg_dump`).
    pub struct Backups {
        /// Directory of the copies; a relative one starts at the data directory.
        dir: PathBuf = PathBuf::from("backups");
        /// Hours between copies that are made by themselves; 0 makes none.
        every_h: u64 = 24, within 0..=8_760;
        /// Copies that are kept.
        keep: usize = 20, within 1..=200;
        /// Days after which a copy is thrown away although there is room; 0 keeps it.
        retention_days: u32 = 0, within 0..=3_650;
        /// Largest file that can be imported.
        max_import_bytes: usize = 100 * 1024 * 1024, within 4096..=1_099_511_627_776;
    }
}
