//! Many threads at once: callers that place and show values, links that carry what is to be told, and
//! workers that answer. Nobody waits for ever, nobody's bytes change, and nothing is left.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use snakepit_shm::{
    Arena, ArenaOptions, DescriptorReceiver, Grant, Ledger, Notice, Quota, Reference, RegionUse,
    Regions, SegmentId, ShmError, descriptor_channel,
};

const CALLERS: usize = 3;
const CALLS: usize = 400;
const LINKS: usize = 2;
const MIB: u64 = 1024 * 1024;

/// What a worker is told.
enum Down {
    Call(Reference),
    Granted(Grant),
    Forget(SegmentId),
    Stop,
}

/// What a link's thread works off.
enum Up {
    Woken,
    Release(SegmentId, u64),
    Result(Reference),
    Done,
}

fn uniform(bytes: &[u8]) -> bool {
    let first = bytes.first().copied();
    bytes.iter().step_by(1024).chain(bytes.last()).all(|&byte| Some(byte) == first)
}

/// Places values of one byte each, and shows them to one worker after the other, some to two.
fn caller(number: usize, quota: &Quota, links: &[(Ledger, Sender<Down>)]) {
    for call in 0..CALLS {
        let size = 1 + (call * 7919 + number * 104_729) % 300_000;
        // Others may have all there is just now. It comes back: workers keep little, and are asked for
        // what lies idle with them.
        let mut draft = loop {
            match quota.draft(size) {
                Ok(draft) => break draft,
                Err(ShmError::QuotaReached { .. } | ShmError::TotalReached { .. }) => {
                    thread::yield_now();
                }
                Err(other) => panic!("{other}"),
            }
        };
        draft.as_mut_slice()[..size].fill((call % 200) as u8);
        let lease = draft.freeze(size);
        for at in call..=call + usize::from(call % 5 == 0) {
            let (ledger, worker) = &links[at % LINKS];
            if call % 3 == 0 {
                let _ = ledger.want(1, size as u64);
            }
            if let Ok(reference) = ledger.lend(&lease) {
                if call % 11 == 0 {
                    ledger.withdraw(&reference);
                } else {
                    worker.send(Down::Call(reference)).expect("the worker lives until it is told");
                }
            }
        }
        assert!(uniform(lease.as_slice()), "a caller's value changed");
    }
}

/// Tells the worker what it has to be told, and takes what it gives.
fn link(ledger: &Ledger, up: &Receiver<Up>, down: &Sender<Down>) -> usize {
    let mut results = 0;
    for message in up {
        match message {
            Up::Woken => {
                for notice in ledger.notices() {
                    let message = match notice {
                        Notice::Grant { grant: Some(grant), .. } => Down::Granted(grant),
                        Notice::Forget { segment } => Down::Forget(segment),
                        _ => continue,
                    };
                    // It fails when the worker has stopped, which needs to know nothing more.
                    let _ = down.send(message);
                }
            }
            Up::Release(segment, generation) => {
                ledger.release(segment, generation).expect("a loan or a segment asked for");
            }
            Up::Result(reference) => {
                let lease = ledger.take(&reference).expect("a granted segment");
                assert!(uniform(lease.as_slice()), "a result changed");
                results += 1;
            }
            Up::Done => break,
        }
    }
    results
}

/// Looks at what it is shown, keeps a few, and answers where it has a segment.
fn worker(regions: &Regions, down: &Receiver<Down>, up: &Sender<Up>) {
    let mut kept: Vec<RegionUse> = Vec::new();
    for message in down {
        match message {
            Down::Call(reference) => {
                let seen = regions.view(&reference).expect("what was lent can be seen");
                assert!(uniform(seen.as_slice().expect("memory")), "a value of two writers");
                if let Some(mut draft) = regions.draft(seen.len()) {
                    draft.as_mut_slice()[..seen.len()].fill(201);
                    let (result, _) = draft.hand_over(0..seen.len());
                    up.send(Up::Result(result)).expect("its link lives longer");
                }
                kept.push(seen);
                if kept.len() > 3 {
                    let old = kept.swap_remove(0);
                    assert!(uniform(old.as_slice().expect("memory")), "a kept value changed");
                }
            }
            Down::Granted(grant) => regions.granted(&grant).expect("a grant fits"),
            Down::Forget(segment) => regions.forget([segment]),
            Down::Stop => break,
        }
    }
}

#[test]
fn callers_links_and_workers_meet_in_every_order_and_leave_nothing() {
    let arena = Arena::new(ArenaOptions { total_bytes: 5 * MIB, poison: true });
    let quota = arena.quota("pool", 4 * MIB);
    let results: usize = thread::scope(|scope| {
        let mut links = Vec::new();
        let mut ends = Vec::new();
        for _ in 0..LINKS {
            let (sender, worker_end) = descriptor_channel().unwrap();
            let (up, up_receiver) = channel();
            let (down, down_receiver) = channel();
            let wake = up.clone();
            // It fails when the link's thread has ended, and then there is nobody to tell.
            let ledger = Ledger::new(&quota, sender, move || drop(wake.send(Up::Woken)));
            let release = up.clone();
            let release = move |segment, generation| {
                let _ = release.send(Up::Release(segment, generation));
            };
            let receiver = DescriptorReceiver::new(worker_end);
            scope.spawn(move || {
                let regions = Regions::with_poison(receiver, release, true);
                worker(&regions, &down_receiver, &up);
                drop((regions, down_receiver));
                up.send(Up::Done).expect("its link waits for it");
            });
            let (teller, teller_down) = (ledger.clone(), down.clone());
            ends.push(scope.spawn(move || link(&teller, &up_receiver, &teller_down)));
            links.push((ledger, down));
        }
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let (quota, links) = (quota.clone(), links.clone());
                scope.spawn(move || caller(number, &quota, &links))
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        links.iter().for_each(|(_, down)| down.send(Down::Stop).unwrap());
        let results = ends.into_iter().map(|end| end.join().unwrap()).sum();
        links.iter().for_each(|(ledger, _)| ledger.close());
        results
    });
    assert!(results > 0, "no worker was ever granted a segment in time");
    assert_eq!(arena.stats().in_use_bytes(), 0);
    arena.trim(0);
    assert_eq!(arena.stats().held_bytes, 0);
}
