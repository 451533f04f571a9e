//! The files of a database, recognised by device and inode: a path may lead to another file later, or to none.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
};

use tracing::warn;

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

/// The database's file, its log and its index, after following links.
fn files_of(database: &Path) -> io::Result<[PathBuf; 3]> {
    let database = database.canonicalize()?;
    Ok(["", "-wal", "-shm"].map(|end| {
        let mut file = database.clone().into_os_string();
        file.push(end);
        file.into()
    }))
}

/// The files that other users can read or write, with their permissions.
#[cfg(unix)]
pub(super) fn open_to_others(database: &Path) -> Vec<(PathBuf, fs::Permissions)> {
    use std::os::unix::fs::PermissionsExt;
    let open = |file: PathBuf| {
        let permissions = fs::metadata(&file).ok()?.permissions();
        (permissions.mode() & 0o077 != 0).then_some((file, permissions))
    };
    files_of(database).into_iter().flatten().filter_map(open).collect()
}

#[cfg(not(unix))]
pub(super) fn open_to_others(_: &Path) -> Vec<(PathBuf, fs::Permissions)> {
    Vec::new()
}

/// Takes the files of an earlier version away from other users.
pub(super) fn make_private(database: &Path) {
    for (file, permissions) in open_to_others(database) {
        #[cfg(unix)]
        let permissions = {
            use std::os::unix::fs::PermissionsExt;
            fs::Permissions::from_mode(permissions.mode() & 0o700)
        };
        let changed = fs::set_permissions(&file, permissions);
        let file = file.display();
        match changed {
            Ok(()) => warn!(%file, "other users could read or write the file, and cannot any more"),
            Err(error) => warn!(%file, %error, "other users can read or write the file (chmod go= it)"),
        }
    }
}

impl Place {
    /// The files of an open database.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for (place, file) in files_of(path)?.into_iter().enumerate() {
            match fs::metadata(&file) {
                Ok(metadata) => files.push((file, FileId::of(&metadata))),
                Err(error) if error.kind() == io::ErrorKind::NotFound && place > 0 => {}
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
