//! Checks that files can be written where settings say, without leaving traces.

use std::{fs, io, path::Path};

/// Checks that files can be created in this folder, or in the parent of a folder to be created.
pub(crate) fn folder_or_its_parent(path: &Path) -> io::Result<()> {
    for place in path.ancestors().map(or_here) {
        if place.try_exists()? {
            return folder(place);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Checks that files can be created in this folder, with an unnamed file.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    tempfile::tempfile_in(path).map(drop)
}

/// The folder that it is in.
pub(crate) fn parent(path: &Path) -> &Path {
    or_here(path.parent().unwrap_or(path))
}

/// Checks that this file can be written, if it exists.
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
