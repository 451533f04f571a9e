//! Whether files could be written where settings say. What is tried leaves nothing behind.

use std::{fs, io, path::Path};

/// Whether files can be made in this folder, or where the folder would be made.
pub(crate) fn folder_or_its_parent(path: &Path) -> io::Result<()> {
    for place in path.ancestors().map(or_here) {
        if place.try_exists()? {
            return folder(place);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Whether files can be made in this folder. The one that is tried has no name.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    tempfile::tempfile_in(path).map(drop)
}

/// The folder that it is in.
pub(crate) fn parent(path: &Path) -> &Path {
    or_here(path.parent().unwrap_or(path))
}

/// Whether this file can be written to, if it is there.
pub(crate) fn can_be_written(path: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// No path at all is the folder that it runs in.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
