//! The files of a database, recognised by device and inode: a path may lead to another file later, or to none.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
};

use crate::store::{Replaced, StoreError};

/// Where a database is: its file, its log and its index.
pub(super) struct Place(Vec<(PathBuf, FileId)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Self {
        Self {}
    }
}

impl Place {
    /// The files of an open database.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let mut files = Vec::new();
        for end in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(end);
            match fs::metadata(&file) {
                Ok(metadata) => files.push((file.into(), FileId::of(&metadata))),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !end.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(files))
    }

    /// Checks that the paths still lead to the open files, and that these are writable.
    ///
    /// No file is opened: to close it would release SQLite's locks on it.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (path, id) in &self.0 {
            let metadata = fs::metadata(path);
            let path = path.display();
            let metadata = metadata.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => StoreError::not_applied(Replaced(format!("{path} is gone"))),
                _ => StoreError::not_applied(format!("{path}: {error}")),
            })?;
            if FileId::of(&metadata) != *id {
                let another = format!("{path} is another file than the open one");
                return Err(StoreError::not_applied(Replaced(another)));
            }
            if metadata.permissions().readonly() {
                return Err(StoreError::not_applied(format!("{path} is read-only")));
            }
        }
        Ok(())
    }
}
