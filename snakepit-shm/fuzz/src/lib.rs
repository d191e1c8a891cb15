//! What must hold of anything that comes from the other side: one function for each target, which the
//! fuzzer and a test without one share.

use std::io::IoSlice;
use std::mem::MaybeUninit;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use snakepit_shm::{
    Arena, ArenaOptions, ArrayBody, Content, DescriptorReceiver, Grant, Lease, Ledger, Notice,
    PACKET_BYTES, Reference, Regions, SegmentId, SharedBody, descriptor_channel, parse_arrow,
};

/// Any bytes as the body of an extension value: refused, or something that is within its bounds and
/// is read again from what it is written as.
pub fn bodies(data: &[u8]) {
    if let Ok(body) = SharedBody::parse(data) {
        assert_eq!(SharedBody::parse(&body.to_bytes()).as_ref(), Ok(&body));
        if let Content::Array(layout) = &body.content {
            assert!(layout.byte_len() <= isize::MAX as usize);
            assert!(layout.is_contiguous(&layout.strides()));
        }
    }
    if let Ok(body) = ArrayBody::parse(data) {
        assert_eq!(body.data.len(), body.layout.byte_len());
        let mut written = Vec::new();
        ArrayBody::write_head(&body.layout, &mut written);
        written.extend_from_slice(body.data);
        assert_eq!(ArrayBody::parse(&written).as_ref(), Ok(&body));
    }
    if let Ok(stream) = parse_arrow(data) {
        assert!(stream.len() < data.len());
    }
}

/// Any packets on the way of descriptors, with none, one or two descriptors of good and bad files:
/// refused, or a mapping that can be read from end to end.
///
/// The first byte of each packet says what comes with it; its length is the second.
pub fn packets(data: &[u8]) {
    let flags = SocketFlags::CLOEXEC;
    let (host, worker) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .expect("two descriptors");
    let regions = Regions::new(DescriptorReceiver::new(worker), |_, _| {});
    let mut rest = data;
    let mut names = Vec::new();
    while let [how, length, tail @ ..] = rest {
        let (packet, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        if packet.len() == PACKET_BYTES {
            names.push(number(packet, 0));
        }
        send(&host, packet, &files(*how));
    }
    // A name that nobody sent makes it read all that there is.
    for name in [u64::MAX].into_iter().chain(names) {
        let segment = SegmentId(name);
        for (offset, size_bytes) in [(0, 1), (0, 4096), (4096, 4096), (u64::MAX, 2)] {
            let reference = Reference { segment, generation: 0, offset, size_bytes };
            if let Ok(seen) = regions.view(&reference) {
                // A file on disk is no slice, and comes back copied or as an error.
                let copy = seen.to_vec();
                assert!(copy.is_err() || copy.is_ok_and(|bytes| bytes.len() == seen.len()));
            }
        }
        let grant = Grant { segment, generation: 1, size_bytes: 8192 };
        if let (Ok(()), Some(mut draft)) = (regions.granted(&grant), regions.draft(1)) {
            draft.as_mut_slice().fill(1);
        }
        regions.forget([segment]);
    }
}

/// What comes with a packet.
fn files(how: u8) -> Vec<OwnedFd> {
    let size = SealFlags::SHRINK | SealFlags::GROW;
    match how % 8 {
        0 => vec![],
        1 => vec![memory(8192, size), memory(8192, size)],
        2 => vec![memory(8192, SealFlags::GROW)],
        3 => vec![memory(8192, size | SealFlags::WRITE)],
        4 => vec![memory(0, size)],
        5 => vec![std::fs::File::open("/dev/null").expect("it is always there").into()],
        _ => vec![memory(8192, size)],
    }
}

fn memory(bytes: u64, seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create(c"fuzz", flags).expect("a descriptor");
    ftruncate(&file, bytes).expect("memory");
    fcntl_add_seals(&file, seals).expect("it can be sealed");
    file
}

fn send(host: &OwnedFd, packet: &[u8], files: &[OwnedFd]) {
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    // A full socket is as good as a packet that was never sent.
    let _ = sendmsg(host, &[IoSlice::new(packet)], &mut control, SendFlags::DONTWAIT);
}

/// Any messages of a worker among things that the host does: the host refuses or obeys, nobody's bytes
/// change, and when all is let go nothing is in use.
pub fn worker(data: &[u8]) {
    const PATTERN: u8 = 0x5a;
    let arena = Arena::new(ArenaOptions { total_bytes: 1 << 20, poison: true });
    let quota = arena.quota("fuzz", 512 << 10);
    let (sender, worker_end) = descriptor_channel().expect("descriptors");
    let ledger = Ledger::new(&quota, sender, || {});
    let mut own: Vec<Lease> = Vec::new();
    let mut taken: Vec<Lease> = Vec::new();
    let mut names: Vec<(SegmentId, u64)> = vec![(SegmentId(0), 0)];
    for words in data.chunks_exact(4) {
        let [what, which, where_, how] = *words else { break };
        let (segment, generation) = names[usize::from(which) % names.len()];
        // Mostly what is right, with small errors.
        let generation = generation.wrapping_add(u64::from(how >> 6)).wrapping_sub(1);
        let (offset, size_bytes) = match where_ {
            255 => (u64::MAX - 63, 128),
            254 => (0, u64::MAX),
            _ => (u64::from(where_) * 32, u64::from(how) * 1024),
        };
        let reference = Reference { segment, generation, offset, size_bytes };
        match what % 8 {
            0 => drop(ledger.want(1, u64::from(how) * 1024)),
            1 => {
                if let Ok(mut draft) = quota.draft(usize::from(how) * 1024) {
                    draft.as_mut_slice().fill(PATTERN);
                    let len = draft.capacity();
                    own.push(draft.freeze(len));
                }
            }
            2 => {
                if let Some(lease) = own.get(usize::from(which) % own.len().max(1)) {
                    let lent = ledger.lend(lease).map(|it| (it.segment, it.generation));
                    names.extend(lent.ok());
                }
            }
            3 => drop(own.pop()),
            4 => drop(ledger.release(segment, generation)),
            5 => taken.extend(ledger.take(&reference).ok()),
            6 => drop(taken.pop()),
            _ => ledger.revoke_idle(),
        }
        for notice in ledger.notices() {
            if let Notice::Grant { grant: Some(grant), .. } = notice {
                names.push((grant.segment, grant.generation));
            }
        }
        for lease in &own {
            assert!(lease.as_slice().iter().step_by(4096).all(|&byte| byte == PATTERN));
        }
        taken.iter().for_each(|lease| assert_eq!(lease.to_vec().len(), lease.len()));
    }
    ledger.close();
    drop((own, taken, worker_end));
    let stats = arena.stats();
    assert_eq!(stats.in_use_bytes(), 0, "a worker's messages cost memory for ever");
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
