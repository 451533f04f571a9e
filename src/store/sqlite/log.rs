//! The write-ahead log as a file: it is given room in advance.
//!
//! A sync of a file that has grown has to write more than the data: where they are, and how long the file is now. To write
//! over what is there is synced twice as quickly. So the log grows by [`ROOM`] at a time, filled with zeros; the frames of the
//! next commits are written over them. SQLite reads a log until the first frame that is not valid, and one of zeros is of no
//! page. It leaves the file as long as it is when it begins the log anew.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

/// By so many bytes the log grows at once: the less it is, the more commits wait for it, and the shorter each waits. A log
/// whose length is no multiple of it has outgrown what it was given, and gets more with the next commit: its header and
/// frames hardly ever end at one.
const ROOM: u64 = 256 * 1_024;

/// Where SQLite keeps the log of the database in this file: beside the file itself, wherever a link to it may be.
pub(super) fn path_of(database: &Path) -> PathBuf {
    let mut log: OsString = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into();
    log.push("-wal");
    log.into()
}

/// The log of a database that a connection has open: as long as it has, SQLite does not remove it.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// So long it was when there was no room to be had.
    refused_at: Option<u64>,
}

impl Log {
    /// The log of this connection's database. None where there is no file, or where it cannot be opened: then commits are
    /// as right as ever, and slower.
    pub(super) fn of(connection: &Connection) -> Option<Self> {
        let database = connection.path().filter(|path| !path.is_empty())?;
        let file = File::options().write(true).open(path_of(database.as_ref())).ok()?;
        Some(Self { file, refused_at: None })
    }

    /// Gives it room, if it has none left. To be called by whoever has the writer's lock: nobody else's frames may come
    /// to where the zeros are written. Where there is no room to be had, it stays as long as it is: the commit may still
    /// find what it needs, and if not, it says so itself.
    pub(super) fn make_room(&mut self) {
        let Ok(end) = self.file.seek(SeekFrom::End(0)) else { return };
        let missing = end.next_multiple_of(ROOM) - end;
        if missing == 0 || self.refused_at == Some(end) {
            return;
        }
        if io::copy(&mut io::repeat(0).take(missing), &mut self.file).is_err() {
            self.refused_at = Some(end);
            // Zeros that stay are in nobody's way.
            drop(self.file.set_len(end));
        }
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

    fn log_at(path: &Path, may: &mut std::fs::OpenOptions) -> Log {
        Log { file: may.open(path).expect("it is there"), refused_at: None }
    }

    #[test]
    fn a_log_gets_room_when_it_has_outgrown_what_it_has() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        for (length, after) in [(0, 0), (1, ROOM), (ROOM, ROOM), (ROOM + 1, 2 * ROOM)] {
            std::fs::write(&path, vec![7; usize::try_from(length).expect("small")]).expect("written");
            let mut log = log_at(&path, File::options().write(true));
            for _ in 0..2 {
                log.make_room();
                let bytes = std::fs::read(&path).expect("it is there");
                let frames = bytes.iter().take_while(|byte| **byte == 7).count() as u64;
                let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count() as u64;
                assert_eq!((frames, zeros), (length, after - length));
            }
        }
    }

    #[test]
    fn a_log_that_is_refused_room_stays_as_it_is_and_asks_again_when_it_has_grown() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        std::fs::write(&path, "1234567").expect("written");
        let mut log = log_at(&path, File::options().read(true));
        log.make_room();
        assert_eq!((std::fs::read(&path).expect("it is there").len(), log.refused_at), (7, Some(7)));
        let mut log = Log { refused_at: Some(7), ..log_at(&path, File::options().write(true)) };
        let mut length = || {
            log.make_room();
            path.metadata().expect("it is there").len()
        };
        assert_eq!(length(), 7);
        std::fs::write(&path, "12345678").expect("written");
        assert_eq!(length(), ROOM);
    }

    /// How many of twenty commits are found by whoever has nothing but the two files, when this was done to the log. None
    /// where not even the table is left.
    fn commits_left(done: impl FnOnce(&mut Log)) -> Option<i64> {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, copy) = (dir.path().join("gate.db"), dir.path().join("copy.db"));
        let connection = Connection::open(&path).expect("a new one");
        connection.pragma_update(None, "journal_mode", "WAL").expect("nothing fails");
        connection.execute_batch("CREATE TABLE a (a)").expect("nothing fails");
        for _ in 0..20 {
            connection.execute("INSERT INTO a VALUES (1)", []).expect("nothing fails");
        }
        done(&mut Log::of(&connection).expect("it has one"));
        std::fs::copy(&path, &copy).expect("copied");
        std::fs::copy(path_of(&path), path_of(&copy)).expect("copied");
        let copy = Connection::open(&copy).expect("it is there");
        copy.query_one("SELECT count(*) FROM a", [], |row| row.get(0)).ok()
    }

    #[test]
    fn room_takes_no_commit_away_and_zeros_that_begin_too_early_do() {
        assert_eq!(commits_left(Log::make_room), Some(20));
        let too_early = |log: &mut Log| {
            log.file.seek(SeekFrom::End(-1)).expect("it is longer");
            io::copy(&mut io::repeat(0).take(2), &mut log.file).expect("written");
        };
        let first_frame = |log: &mut Log| {
            log.file.seek(SeekFrom::Start(32)).expect("it is longer");
            io::copy(&mut io::repeat(0).take(ROOM), &mut log.file).expect("written");
        };
        assert_eq!(commits_left(too_early), Some(19));
        assert_eq!(commits_left(first_frame), None);
    }

    #[test]
    fn a_log_is_found_whatever_its_database_is_called() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("gate.db");
        let uri = format!("file:{}", path.display());
        for (name, has_log) in [(uri.as_str(), true), (":memory:", false)] {
            let connection = Connection::open(name).expect("a new one");
            connection.pragma_update(None, "journal_mode", "WAL").expect("nothing fails");
            connection.execute_batch("CREATE TABLE a (a)").expect("nothing fails");
            assert_eq!(Log::of(&connection).is_some(), has_log, "{name}");
        }
    }
}
