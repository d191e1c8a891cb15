#![doc = include_str!("../README.md")]

mod convert;
mod hello;
mod inbox;
mod io;
mod link;
mod loans;
mod memory;
mod outbox;
mod outgoing;
mod reader;
mod server;
mod shared;
mod traffic;

pub use hello::{Hello, Python};
pub use io::socket_pair;
pub use link::{Link, Vitals};
pub use memory::{Memory, MemoryCounts};
pub use server::{Attaching, LinkOptions, LinkServer};
pub use shared::{Gil, LinkEnd};
pub use traffic::Frames;
