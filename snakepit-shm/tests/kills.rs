//! Two processes, one of them killed at every point of an exchange: the other keeps what it reads,
//! and nothing of the dead one stays. The other one is this test binary, started again.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use snakepit_shm::{
    Arena, ArenaOptions, DescriptorReceiver, DescriptorSender, Grant, Lease, Ledger, Notice, Quota,
    Reference, RegionError, RegionUse, Regions, SegmentId, descriptor_channel,
};

/// Where the worker finds its host; the way of descriptors is its standard input.
const SOCKET: &str = "SNAKEPIT_SHM_TEST_SOCKET";
/// How many workers are killed, and in `cargo xtask soak`: issue 7 says 10,000.
const KILLS: [usize; 2] = [200, 10_000];
const SIZE: usize = 300 * 1024;
const MIB: u64 = 1024 * 1024;

/// What a process has open and mapped is looked at by one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A message, both ways: a tag and four numbers.
type Message = [u64; 5];

const CALL: u64 = 1;
const GRANT: u64 = 2;
const FORGET: u64 = 3;
const RELEASE: u64 = 4;
const RESULT: u64 = 5;
const DONE: u64 = 6;

fn send(mut stream: &UnixStream, message: Message) -> io::Result<()> {
    let bytes: Vec<u8> = message.iter().flat_map(|number| number.to_le_bytes()).collect();
    stream.write_all(&bytes)
}

fn receive(mut stream: &UnixStream) -> io::Result<Message> {
    let mut bytes = [0; 40];
    stream.read_exact(&mut bytes)?;
    let mut message = [0; 5];
    for (number, bytes) in message.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    Ok(message)
}

fn reference_of(message: &Message) -> Reference {
    let [_, segment, generation, offset, size_bytes] = *message;
    Reference { segment: SegmentId(segment), generation, offset, size_bytes }
}

fn message_of(tag: u64, reference: &Reference) -> Message {
    [tag, reference.segment.0, reference.generation, reference.offset, reference.size_bytes]
}

/// Whether the worker hands a value back as it lies.
fn comes_back(pattern: u8) -> bool {
    pattern.is_multiple_of(3)
}

/// The worker: looks at what it is shown, keeps half of it, and answers with bytes one higher or with
/// the value itself.
#[test]
#[ignore = "the other process of the test in this file"]
fn as_a_worker() {
    let host = UnixStream::connect(env::var(SOCKET).expect("started by the test")).unwrap();
    let channel = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let out = Arc::new(Mutex::new(host.try_clone().unwrap()));
    let release = {
        let out = Arc::clone(&out);
        move |segment: SegmentId, generation| {
            // The host may be dead; then nobody waits for it.
            let _ = send(&out.lock().unwrap(), [RELEASE, segment.0, generation, 0, 0]);
        }
    };
    let regions = Regions::with_poison(DescriptorReceiver::new(channel), release, true);
    let mut kept: Vec<RegionUse> = Vec::new();
    while let Ok(message) = receive(&host) {
        match message[0] {
            CALL => {
                let seen = regions.view(&reference_of(&message)).unwrap();
                answer(&regions, &seen, &out.lock().unwrap());
                kept.push(seen);
                if kept.len() > 1 {
                    kept.swap_remove(0);
                }
            }
            GRANT => {
                let [_, segment, generation, size_bytes, _] = message;
                let grant = Grant { segment: SegmentId(segment), generation, size_bytes };
                regions.granted(&grant).unwrap();
            }
            FORGET => regions.forget([SegmentId(message[1])]),
            tag => panic!("unknown message {tag}"),
        }
        let done = send(&out.lock().unwrap(), [DONE, message[0], 0, 0, 0]);
        if done.is_err() {
            return;
        }
    }
}

fn answer(regions: &Regions, seen: &RegionUse, out: &UnixStream) {
    let bytes = seen.as_slice().expect("memory");
    let first = bytes[0];
    assert!(bytes.iter().all(|&byte| byte == first), "a value of two writers");
    if comes_back(first) {
        let (reference, _kept) = regions.hand_back(seen.as_ptr(), seen.len()).expect("it is seen");
        let _ = send(out, message_of(RESULT, &reference));
        return;
    }
    let Some(mut draft) = regions.draft(bytes.len()) else { return };
    draft.as_mut_slice().fill(first + 1);
    let (reference, _) = draft.hand_over(0..bytes.len());
    let _ = send(out, message_of(RESULT, &reference));
}

/// A host that shows values and grants a segment, and is killed in the middle of nothing.
#[test]
#[ignore = "the other process of the test in this file"]
fn as_a_host() {
    let stream = UnixStream::connect(env::var(SOCKET).expect("started by the test")).unwrap();
    let channel = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let arena = Arena::new(ArenaOptions { total_bytes: 16 * MIB, poison: true });
    let quota = arena.quota("pool", 16 * MIB);
    let ledger = Ledger::new(&quota, DescriptorSender::from(channel), || {});
    let mut kept = Vec::new();
    for pattern in 1..=3 {
        let mut draft = quota.draft(SIZE).unwrap();
        draft.as_mut_slice().fill(pattern);
        kept.push(draft.freeze(SIZE));
        let reference = ledger.lend(kept.last().unwrap()).unwrap();
        send(&stream, message_of(CALL, &reference)).unwrap();
    }
    ledger.want(1, SIZE as u64).unwrap();
    let [Notice::Grant { grant: Some(grant), .. }] = ledger.notices()[..] else {
        panic!("a want is answered");
    };
    let Grant { segment, generation, size_bytes } = grant;
    send(&stream, [GRANT, segment.0, generation, size_bytes, 0]).unwrap();
    // Nothing comes: this waits to be killed.
    let _ = receive(&stream);
}

/// Starts this binary again, as one of the tests that are for that.
fn start(role: &str, channel: OwnedFd, socket: &Path) -> Child {
    Command::new(env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", role])
        .env(SOCKET, socket)
        .stdin(Stdio::from(channel))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts again")
}

struct Worker {
    child: Child,
    stream: UnixStream,
    ledger: Ledger,
}

impl Worker {
    fn start(quota: &Quota, listener: &UnixListener, socket: &Path) -> Self {
        let (sender, channel) = descriptor_channel().expect("descriptors");
        let child = start("as_a_worker", channel, socket);
        let (stream, _) = listener.accept().expect("it connects");
        Self { child, stream, ledger: Ledger::new(quota, sender, || {}) }
    }

    /// Sends what the worker has to be told.
    fn tell(&self) -> io::Result<usize> {
        let notices = self.ledger.notices();
        let mut sent = 0;
        for notice in notices {
            sent += 1;
            match notice {
                Notice::Grant { grant: Some(grant), .. } => {
                    let Grant { segment, generation, size_bytes } = grant;
                    send(&self.stream, [GRANT, segment.0, generation, size_bytes, 0])?;
                }
                Notice::Forget { segment } => send(&self.stream, [FORGET, segment.0, 0, 0, 0])?,
                other => panic!("unexpected notice {other:?}"),
            }
        }
        Ok(sent)
    }

    /// Reads messages until as many were worked off as were sent.
    fn hear(&self, mut pending: usize) -> io::Result<Option<Lease>> {
        let mut result = None;
        while pending > 0 {
            let message = receive(&self.stream)?;
            match message[0] {
                DONE => pending -= 1,
                RELEASE => self.ledger.release(SegmentId(message[1]), message[2]).expect("a loan"),
                RESULT => {
                    result = Some(self.ledger.take(&reference_of(&message)).expect("granted"))
                }
                tag => panic!("unknown message {tag}"),
            }
        }
        Ok(result)
    }

    fn kill(mut self) {
        self.child.kill().expect("it lives or is a zombie");
        self.child.wait().expect("it is ours");
        self.ledger.close();
    }
}

/// What this process has open and mapped of segments.
fn footprint() -> (usize, usize) {
    let files = fs::read_dir("/proc/self/fd").expect("proc").count();
    let maps = fs::read_to_string("/proc/self/maps").expect("proc");
    (files, maps.lines().filter(|line| line.contains("snakepit-segment")).count())
}

#[test]
fn a_worker_killed_at_any_point_leaves_nothing_and_takes_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("host");
    let listener = UnixListener::bind(&socket).unwrap();
    let arena = Arena::new(ArenaOptions { total_bytes: 16 * MIB, poison: true });
    let quota = arena.quota("pool", 8 * MIB);
    let mut after_first = None;
    let mut kept: Option<Lease> = None;
    let full = usize::from(env::var_os("SNAKEPIT_SOAK").is_some());
    for round in 0..KILLS[full] {
        let worker = Worker::start(&quota, &listener, &socket);
        let pattern = (round % 100) as u8 + 1;
        let result = exchange(&worker, &quota, pattern, round % 8);
        worker.kill();
        // A result outlives the worker that made it, also while the next one works.
        if let Some(old) = kept.take() {
            let first = old.as_slice()[0];
            assert!(old.as_slice().iter().all(|&byte| byte == first), "a dead worker's result");
        }
        kept = result.unwrap_or_default();
        if round % 8 == 7 {
            kept = None;
            assert_eq!(arena.stats().in_use_bytes(), 0, "a dead worker holds memory");
            let now = (footprint(), arena.stats().held_bytes);
            assert_eq!(*after_first.get_or_insert(now), now, "something stays with each kill");
        }
    }
}

/// Calls and answers, left off after so many steps.
fn exchange(
    worker: &Worker,
    quota: &Quota,
    pattern: u8,
    steps: usize,
) -> io::Result<Option<Lease>> {
    let mut last = None;
    for step in 0..steps {
        worker.ledger.want(1, SIZE as u64).expect("within the quota");
        let told = worker.tell()?;
        let mut draft = quota.draft(SIZE).expect("within the quota");
        draft.as_mut_slice()[..SIZE].fill(pattern);
        let lease = draft.freeze(SIZE);
        let reference = worker.ledger.lend(&lease).expect("it lives");
        send(&worker.stream, message_of(CALL, &reference))?;
        drop(lease);
        if step + 1 == steps && steps.is_multiple_of(2) {
            // Killed in the middle of it, at whatever it does now.
            return Ok(last);
        }
        let result = worker.hear(told + 1)?.expect("each value is answered");
        let expected = if comes_back(pattern) { pattern } else { pattern + 1 };
        assert!(result.as_slice().iter().all(|&byte| byte == expected));
        last = Some(result);
    }
    Ok(last)
}

#[test]
fn what_a_killed_host_has_shown_stays_readable_until_it_is_let_go() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("worker");
    let listener = UnixListener::bind(&socket).unwrap();
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let (host_end, worker_end) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        flags,
        None,
    )
    .unwrap();
    let mut host = start("as_a_host", host_end, &socket);
    let (stream, _) = listener.accept().unwrap();
    let releases = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&releases);
    let release = move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
    };
    let regions = Regions::new(DescriptorReceiver::new(worker_end), release);
    let seen: Vec<RegionUse> =
        (0..3).map(|_| regions.view(&reference_of(&receive(&stream).unwrap())).unwrap()).collect();
    let [tag, segment, generation, size_bytes, _] = receive(&stream).unwrap();
    assert_eq!(tag, GRANT);
    regions.granted(&Grant { segment: SegmentId(segment), generation, size_bytes }).unwrap();
    let mut draft = regions.draft(SIZE).unwrap();

    host.kill().unwrap();
    host.wait().unwrap();
    for (seen, pattern) in seen.iter().zip(1..) {
        assert!(seen.as_slice().unwrap().iter().all(|&byte| byte == pattern));
    }
    draft.as_mut_slice().fill(9);
    assert!(draft.as_mut_slice().iter().all(|&byte| byte == 9));
    let unknown = Reference { segment: SegmentId(99), generation: 1, offset: 0, size_bytes: 1 };
    let error = regions.view(&unknown).unwrap_err();
    assert!(matches!(error, RegionError::System(_)), "the host's end is closed: {error}");
    drop((seen, draft));
    assert_eq!(releases.load(Ordering::SeqCst), 3, "each reference is let go once");
}
