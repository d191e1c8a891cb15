//! The control socket: how operators look at the pools of a running program and change them.
//!
//! A host opens it with [`Builder::control_socket`](crate::Builder::control_socket); the commands
//! `snakepit pools`, `workers`, `stats`, `recycle`, `scale`, `reload` and `drain` speak to it. It is a Unix
//! socket that only the host's user and root can reach. Calling tools over it is not possible.
//!
//! The contract is `snakepit.control.v1` in `snakepit-proto`.

mod messages;
mod place;
mod server;
mod service;
mod socket;

pub use self::place::{directory, socket_in, socket_of, socket_path, sockets, sockets_in};
pub(crate) use self::server::ControlServer;
pub(crate) use self::socket::ControlSocket;
