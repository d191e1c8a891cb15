#![doc = include_str!("../README.md")]

#[cfg(feature = "link")]
pub mod framing;
#[cfg(feature = "link")]
pub mod socket;

/// Where a worker attaches: the gRPC method `Attach`.
pub const ATTACH_PATH: &str = "/snakepit.v1.WorkerService/Attach";

/// The messages and services of package `snakepit.v1`.
#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("snakepit.v1");
}

/// The control socket of a running host: the messages and service of package `snakepit.control.v1`.
#[cfg(feature = "control")]
pub mod control {
    /// The messages and service of package `snakepit.control.v1`.
    #[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
    pub mod v1 {
        tonic::include_proto!("snakepit.control.v1");
    }

    /// Largest message of the control socket: the list of tens of thousands of workers.
    pub const MESSAGE_BYTES: usize = 16 * 1024 * 1024;
}

/// MessagePack extension codes of the value mapping table.
pub mod ext {
    /// An integer beyond 64 bits: two's complement, big-endian, shortest form.
    pub const BIG_INT: i8 = 1;
    /// A value without a plain form: a map with `type` and `repr`.
    pub const MARKER: i8 = 2;
    /// Bytes or an array in shared memory: an array of the index in `Payload.shm`, the kind, and for
    /// an array its dtype and shape.
    pub const SHARED: i8 = 3;
    /// An array: an array of dtype, shape and bytes in C order.
    pub const ARRAY: i8 = 4;
    /// Arrow record batches: an array of one binary, an IPC stream.
    pub const ARROW: i8 = 5;

    /// The kinds of [`SHARED`].
    pub mod shared {
        /// Bytes.
        pub const BYTES: u8 = 0;
        /// An array.
        pub const ARRAY: u8 = 1;
        /// An Arrow IPC stream.
        pub const ARROW: u8 = 2;
    }
}

/// What a worker has among its capabilities that was given a socket for descriptors.
pub const SHM_CAPABILITY: &str = "shm";

/// Payloads above this size are sent in fragments: large enough for memcpy speed, small enough
/// that a control frame behind one waits microseconds.
pub const FRAGMENT_BYTES: usize = 128 * 1024;

/// HTTP/2 window of a link's one stream.
///
/// h2's default of 64 KiB stalls a large payload every 64 KiB; this allows 32 fragments under way,
/// which two cores move in about a millisecond.
pub const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// HTTP/2 window of a link's connection: the largest there is, as the stream's is what limits.
///
/// From half of it h2 derives how many small frames may wait unread before it takes them for an
/// attack and ends the connection (from 0.4.19 on; each counts for what it lacks of 256 bytes). With
/// this window even frames of one byte fill [`WINDOW_BYTES`] first, and then the sender waits.
pub const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

const _: () = assert!(WINDOW_BYTES as u64 * 255 <= CONNECTION_WINDOW_BYTES as u64 / 2);

/// Largest HTTP/2 frame on a link: one fragment travels in one frame, where h2's default of 16 KiB
/// would cut it into nine.
pub const HTTP2_FRAME_BYTES: u32 = 256 * 1024;

/// Largest single gRPC message on a link: a fragment and its frame, with room for the longest
/// tool list and traceback. Tonic's default of 4 MiB is neither here nor there.
pub const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Largest whole payload unless configured otherwise.
pub const MAX_PAYLOAD_BYTES: u64 = 1024 * 1024 * 1024;

const WORKER_PROTO: &[u8] = include_bytes!("../proto/snakepit/v1/worker.proto");

/// Fingerprint of the contract this crate was built from: the FNV-1a hash of the `.proto` text,
/// in hexadecimal. Host and worker compare it before anything else.
pub fn contract() -> String {
    const FINGERPRINT: u64 = fnv1a(WORKER_PROTO);
    format!("{FINGERPRINT:016x}")
}

const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_matches_the_published_vector() {
        // From the test suite of the FNV reference implementation.
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
