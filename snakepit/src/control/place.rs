//! Where control sockets are by default, and which directories are safe for them.
//!
//! Invariant: nobody but the user and root can put something else where a socket is.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use snakepit_config::{self as config, HostConfig};
use snakepit_core::{Error, ErrorKind};

/// What the names of sockets end with.
const SUFFIX: &str = "sock";

/// Longest name of an instance, in bytes: it is part of a path that must stay short.
const NAME_LIMIT: usize = 64;

/// The directory of this user's control sockets: `snakepit` in `$XDG_RUNTIME_DIR`, or
/// `snakepit-UID` in the directory for temporary files. It need not exist.
pub fn directory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match runtime.filter(|runtime| runtime.is_absolute()) {
        Some(runtime) => runtime.join("snakepit"),
        None => std::env::temp_dir().join(format!("snakepit-{}", own_uid())),
    }
}

/// Where a host with these settings has its control socket; `None` if nowhere. `name` is its
/// instance's name where the settings give it none.
///
/// # Errors
/// As [`socket_path`].
pub fn socket_of(host: &HostConfig, name: Option<&str>) -> Result<Option<PathBuf>, Error> {
    match (host.control_socket(), host.instance().or(name)) {
        (config::ControlSocket::Path(path), _) => Ok(Some(path.clone())),
        (config::ControlSocket::Off, _) | (_, None) => Ok(None),
        (_, Some(name)) => socket_in(host.socket_dir(), name).map(Some),
    }
}

/// The control socket of the instance `name` in a directory, which is made if there is none; `None` is
/// [`directory`].
///
/// # Errors
/// As [`socket_path`].
pub fn socket_in(directory: Option<&Path>, name: &str) -> Result<PathBuf, Error> {
    let Some(directory) = directory else { return socket_path(name) };
    check_name(name)?;
    make(directory)?;
    Ok(directory.join(format!("{name}.{SUFFIX}")))
}

fn make(directory: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(refused(directory, &format!("cannot be made: {error}"))
                .with_help("set XDG_RUNTIME_DIR, or name a socket in another directory"))
        }
        _ => Ok(()),
    }
}

/// The control socket of the instance `name` in [`directory`], which is made if there is none. The
/// commands find a host there by themselves.
///
/// # Errors
/// `InvalidConfig` if the name is not made of letters, digits, `-`, `_` and dots that do not lead;
/// `System` if the directory cannot be made or is not this user's alone.
///
/// # Examples
/// ```no_run
/// # async fn example() -> snakepit::Result<()> {
/// let snakepit = snakepit::Snakepit::builder()
///     .adapter("adapter.py")
///     .control_socket(snakepit::control::socket_path("my-service")?)
///     .start()
///     .await?;
/// # Ok(())
/// # }
/// ```
pub fn socket_path(name: &str) -> Result<PathBuf, Error> {
    check_name(name)?;
    let directory = directory();
    make(&directory)?;
    check_own(&directory)?;
    Ok(directory.join(format!("{name}.{SUFFIX}")))
}

/// The control sockets in [`directory`], by the names of their instances: those of hosts that run and
/// those that killed ones have left.
///
/// # Errors
/// `System` if the directory is there and not this user's alone.
pub fn sockets() -> Result<Vec<(String, PathBuf)>, Error> {
    sockets_in(None)
}

/// The same of another directory, where one is named.
///
/// # Errors
/// `System` if the directory is there and others could put sockets into it.
pub fn sockets_in(named: Option<&Path>) -> Result<Vec<(String, PathBuf)>, Error> {
    let directory = named.map_or_else(directory, Path::to_path_buf);
    if let Err(error) = fs::symlink_metadata(&directory)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(Vec::new());
    }
    match named {
        Some(directory) => check_safe(directory)?,
        None => check_own(&directory)?,
    }
    let entries = fs::read_dir(&directory)
        .map_err(|error| refused(&directory, &format!("cannot be read: {error}")))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut sockets: Vec<(String, PathBuf)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == SUFFIX))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path.clone())))
        .collect();
    sockets.sort();
    Ok(sockets)
}

fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty()
        && name.len() <= NAME_LIMIT
        && !name.starts_with('.')
        && name.chars().all(allowed)
    {
        return Ok(());
    }
    let message = format!("`{name}` is no name for an instance");
    Err(Error::new(ErrorKind::InvalidConfig, message).with_help(format!(
        "take up to {NAME_LIMIT} letters, digits, `-`, `_` and dots, without a leading dot"
    )))
}

/// Refuses a directory that is not this user's alone.
fn check_own(directory: &Path) -> Result<(), Error> {
    let found = metadata(directory)?;
    if found.uid() != own_uid() {
        return Err(refused(directory, &format!("belongs to user {}", found.uid()))
            .with_help("have its owner remove it, or set XDG_RUNTIME_DIR"));
    }
    if found.mode() & 0o077 != 0 {
        let mode = found.mode() & 0o777;
        return Err(refused(directory, &format!("is open to other users (mode {mode:o})"))
            .with_help(format!("run `chmod 700 {}`", directory.display())));
    }
    Ok(())
}

/// Refuses a directory in which others could put a socket of their own in the place of one.
pub(super) fn check_safe(directory: &Path) -> Result<(), Error> {
    let found = metadata(directory)?;
    if ![own_uid(), 0].contains(&found.uid()) {
        return Err(refused(directory, &format!("belongs to user {}", found.uid()))
            .with_help("put the socket into a directory of your own"));
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o777;
        return Err(refused(directory, &format!("is writable by other users (mode {mode:o})"))
            .with_help("put the socket into a directory that only you can write to"));
    }
    Ok(())
}

fn metadata(directory: &Path) -> Result<Metadata, Error> {
    // Not following a link, which somebody else may have put there.
    match fs::symlink_metadata(directory) {
        Ok(found) if found.is_dir() => Ok(found),
        Ok(_) => Err(refused(directory, "is no directory")),
        Err(error) => Err(refused(directory, &format!("cannot be looked at: {error}"))),
    }
}

fn refused(directory: &Path, why: &str) -> Error {
    let message = format!("the control socket's directory {} {why}", directory.display());
    Error::new(ErrorKind::System, message)
}

/// Who this process acts for.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "a\0", "ä", &"x".repeat(65)] {
            assert_eq!(check_name(name).unwrap_err().kind(), ErrorKind::InvalidConfig, "{name:?}");
        }
        for name in ["a", "my-service_2.test", &"x".repeat(64)] {
            check_name(name).unwrap();
        }
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("d");
        fs::create_dir(&directory).unwrap();
        let refusal = |mode, check: fn(&Path) -> Result<(), Error>| {
            fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            check(&directory).err().map(|error| error.message().to_owned())
        };
        assert_eq!(refusal(0o700, check_own), None);
        assert!(refusal(0o750, check_own).unwrap().ends_with("(mode 750)"));
        assert_eq!(refusal(0o755, check_safe), None);
        assert!(refusal(0o1777, check_safe).unwrap().ends_with("(mode 777)"));
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        assert!(check_safe(&link).unwrap_err().message().ends_with("is no directory"));
    }
}
