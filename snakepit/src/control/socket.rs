//! Opening the control socket and taking it away.
//!
//! Owns who may have a path: a living host keeps it, what a dead one left behind is replaced.
//! Invariants: the socket is never reachable for other users; a path that leads to a living host is
//! never taken from it; the path is removed while the socket still listens, so that nobody takes it
//! for a dead one and is robbed of what he has put in its place.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use snakepit_core::{Error, ErrorKind};

use super::place;

/// Longest path of a socket in bytes: `sun_path` has 108, and the last one is zero; see unix(7).
const PATH_LIMIT: usize = 107;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// A control socket that listens. Dropping it removes its path.
pub(crate) struct ControlSocket {
    // In this order: removed before it is closed.
    pub(super) path: OwnPath,
    pub(super) listener: UnixListener,
}

/// The path of a socket, removed when dropped unless it has become somebody else's.
pub(super) struct OwnPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl ControlSocket {
    /// Opens the socket at a path. It may wait for another host that is opening one in the same
    /// directory.
    ///
    /// # Errors
    /// `InvalidConfig` if the path is too long, `System` if its directory is not safe, if another
    /// host has it, or if the system refuses.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        check_length(path)?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        place::check_safe(directory)?;
        // Looking at the path and taking it are one step for all hosts; the lock ends with the file.
        let directory = File::open(directory).map_err(|error| failed(path, &error))?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)
            .map_err(|error| failed(path, &error))?;
        remove_stale(path)?;
        let listener = listen(path).map_err(|error| failed(path, &error))?;
        let found = fs::symlink_metadata(path).map_err(|error| failed(path, &error))?;
        let (device, inode) = (found.dev(), found.ino());
        let path = OwnPath { path: path.to_owned(), device, inode };
        Ok(Self { path, listener: listener.into() })
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode)) {
            // What cannot be removed is replaced by the next host.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn check_length(path: &Path) -> Result<(), Error> {
    let length = path.as_os_str().len();
    if length <= PATH_LIMIT {
        return Ok(());
    }
    let message = format!(
        "the path of the control socket has {length} bytes and may have {PATH_LIMIT}: {}",
        path.display()
    );
    Err(Error::new(ErrorKind::InvalidConfig, message)
        .with_help("name a shorter one, or set XDG_RUNTIME_DIR to a directory with a short path"))
}

/// Makes room for a socket where a dead host has left one.
fn remove_stale(path: &Path) -> Result<(), Error> {
    let Ok(found) = fs::symlink_metadata(path) else {
        // Whatever is wrong beside its absence, taking the path tells.
        return Ok(());
    };
    if !found.file_type().is_socket() {
        let message = format!("{} is there already and is no socket", path.display());
        return Err(Error::new(ErrorKind::System, message)
            .with_help("remove it, or name another path for the control socket"));
    }
    match holder(path) {
        Holder::None => fs::remove_file(path).map_err(|error| failed(path, &error)),
        Holder::Process(pid) => Err(in_use(path, pid)),
        Holder::Unknown(error) => Err(failed(path, &error)),
    }
}

fn in_use(path: &Path, pid: Option<i32>) -> Error {
    let pid = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
    let message = format!("another host{pid}, has the control socket {}", path.display());
    Error::new(ErrorKind::System, message).with_help(
        "end it, or give this one a name of its own, as `snakepit run --instance NAME` does",
    )
}

enum Holder {
    /// Nobody listens.
    None,
    /// A process does; its id where the system tells it.
    Process(Option<i32>),
    /// That cannot be found out.
    Unknown(Errno),
}

/// Who listens at a path.
fn holder(path: &Path) -> Holder {
    let connected = unix_socket().and_then(|socket| {
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket)
    });
    match connected {
        Ok(socket) => Holder::Process(peer(&socket)),
        // So many wait that it takes no more for the moment.
        Err(Errno::AGAIN) => Holder::Process(None),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Holder::None,
        Err(error) => Holder::Unknown(error),
    }
}

#[cfg(target_os = "linux")]
fn peer(socket: &OwnedFd) -> Option<i32> {
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
    Some(peer.pid.as_raw_nonzero().get())
}

#[cfg(not(target_os = "linux"))]
fn peer(_: &OwnedFd) -> Option<i32> {
    None
}

fn listen(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = unix_socket()?;
    // Linux gives the path the socket's own mode, so there is no moment in which others can reach
    // it; elsewhere the directory alone keeps them away until the second call.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn unix_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let message = format!("cannot open the control socket {}: {error}", path.display());
    Error::new(ErrorKind::System, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn private() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        (directory, path)
    }

    fn refusal(path: &Path) -> Error {
        ControlSocket::open(path).err().expect("it is refused")
    }

    #[test]
    fn the_socket_is_the_users_alone_and_is_gone_with_its_host() {
        let (_directory, path) = private();
        let socket = ControlSocket::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_host_keeps_its_path_and_a_dead_ones_is_taken() {
        let (_directory, path) = private();
        let living = ControlSocket::open(&path).unwrap();
        let error = refusal(&path);
        let own = format!("process {}", std::process::id());
        assert!(error.message().contains(&own), "{error}");
        assert!(error.help().unwrap().contains("--instance"), "{error:?}");
        UnixStream::connect(&path).expect("it was left alone");
        drop(living);
        // A host that is killed closes its socket and removes nothing.
        drop(UnixListener::bind(&path).unwrap());
        let successor = ControlSocket::open(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(successor);
    }

    #[test]
    fn a_host_removes_its_own_path_only() {
        let (_directory, path) = private();
        let robbed = ControlSocket::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = ControlSocket::open(&path).unwrap();
        drop(robbed);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn of_hosts_that_start_together_one_gets_the_path() {
        let (_directory, path) = private();
        // What they all find is a dead one's.
        drop(UnixListener::bind(&path).unwrap());
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = || ControlSocket::open(&path);
            let hosts: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            hosts.into_iter().map(|host| host.join().unwrap()).collect()
        });
        assert_eq!(opened.iter().filter(|opened| opened.is_ok()).count(), 1);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn other_files_and_long_paths_are_refused() {
        let (directory, path) = private();
        fs::write(&path, "precious").unwrap();
        assert!(refusal(&path).message().contains("is no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = directory.path().join("x".repeat(108));
        let error = refusal(&long);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains("may have 107"), "{error}");
        let longest = PATH_LIMIT - directory.path().as_os_str().len() - 1;
        ControlSocket::open(&directory.path().join("x".repeat(longest))).unwrap();
    }
}
