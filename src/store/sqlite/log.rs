//! The write-ahead log as a file: it is given room before it needs it.
//!
//! A sync of a file that has grown has to write more than the data: where they are, and how long the file is now. To write
//! over what is there is synced twice as quickly. So the log grows by [`ROOM`] at a time, filled with zeros; the frames of the
//! next commits are written over them. SQLite reads a log until the first frame whose checksum is wrong, which a frame of
//! zeros has, and leaves the file as long as it is when it begins the log anew.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// By so many bytes the log grows at once: the less it is, the more commits wait for it, and the shorter each waits. A log
/// whose length is no multiple of it has outgrown what it was given: its header and frames hardly ever end at one, and if
/// they do, the next commit makes up for it.
const ROOM: u64 = 256 * 1_024;

/// Where SQLite keeps the log of the database in this file: beside the file itself, wherever a link to it may be.
pub(super) fn path_of(database: &Path) -> PathBuf {
    let mut log: OsString = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into();
    log.push("-wal");
    log.into()
}

/// The log of a database that somebody has open: whoever has it open keeps SQLite from removing it.
#[derive(Debug)]
pub(super) struct Log(File);

impl Log {
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        File::options().write(true).open(path_of(database)).map(Self)
    }

    /// Gives it room, if it has none left. To be called by whoever has the writer's lock: nobody else's frames may come
    /// to where the zeros are written.
    ///
    /// # Errors
    /// There is no room on the disk. The log is as long as it was: its next frames may still find some.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        let end = self.0.seek(SeekFrom::End(0))?;
        let missing = end.next_multiple_of(ROOM) - end;
        if missing == 0 {
            return Ok(());
        }
        io::copy(&mut io::repeat(0).take(missing), &mut self.0).and_then(|_| self.0.flush()).or_else(
            |error| {
                self.0.set_len(end)?;
                Err(error)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_log_is_beside_the_file_and_not_beside_a_link_to_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let (database, link) = (dir.path().join("gate.db"), dir.path().join("link.db"));
        std::fs::write(&database, "")
            .and_then(|()| std::os::unix::fs::symlink(&database, &link))
            .expect("made");
        assert_eq!(path_of(&link), path_of(&database));
    }

    #[test]
    fn a_log_gets_room_when_it_has_outgrown_what_it_has() {
        let dir = tempfile::tempdir().expect("a folder");
        let database = dir.path().join("gate.db");
        let path = path_of(&database);
        for (length, after) in [(0, 0), (1, ROOM), (ROOM, ROOM), (ROOM + 1, 2 * ROOM)] {
            std::fs::write(&path, vec![7; usize::try_from(length).expect("small")]).expect("written");
            let mut log = Log::open(&database).expect("it is there");
            for _ in 0..2 {
                log.make_room().expect("there is room");
                let bytes = std::fs::read(&path).expect("it is there");
                let frames = bytes.iter().take_while(|byte| **byte == 7).count() as u64;
                let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count() as u64;
                assert_eq!((frames, zeros), (length, after - length));
            }
        }
    }
}
