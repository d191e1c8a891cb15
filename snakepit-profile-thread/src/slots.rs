//! Room for several calls in one worker.
//!
//! Owns one word in which all that is to be decided together stands: how many slots are taken, how
//! many there are, whether any are handed out. Every change is one exchange of that word, so there
//! is no moment between looking and taking. Leases (`snakepit_core::Lease`) give back what they took.
//!
//! Invariant: a slot is taken only while fewer are taken than there are and the worker is open; what
//! was taken stays taken until it is released, whatever happens to the number meanwhile.

use snakepit_core::Slots;

use crate::sync::{AtomicU64, Ordering};

/// The slots of a worker that runs several calls at a time.
#[derive(Debug)]
pub struct ThreadSlots {
    /// Bits 0 to 30: taken. Bits 31 to 61: how many there are. Bit 63: closed.
    word: AtomicU64,
}

const COUNT_BITS: u32 = 31;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const CLOSED: u64 = 1 << 63;

/// The word, read.
#[derive(Clone, Copy)]
struct State {
    taken: u64,
    capacity: u64,
    closed: bool,
}

impl State {
    fn read(word: u64) -> Self {
        Self {
            taken: word & COUNT,
            capacity: (word >> COUNT_BITS) & COUNT,
            closed: word & CLOSED != 0,
        }
    }

    fn word(self) -> u64 {
        let closed = if self.closed { CLOSED } else { 0 };
        self.taken | (self.capacity << COUNT_BITS) | closed
    }
}

impl ThreadSlots {
    /// Free slots.
    pub fn new(capacity: usize) -> Self {
        let capacity = (capacity as u64).min(COUNT);
        let state = State { taken: 0, capacity, closed: false };
        Self { word: AtomicU64::new(state.word()) }
    }

    /// Changes how many slots there are. Of a worker with more calls than that, the surplus ends
    /// first: no slot is handed out until there are fewer.
    pub fn resize(&self, capacity: usize) {
        let capacity = (capacity as u64).min(COUNT);
        self.change(|state| Some(State { capacity, ..state }));
    }

    /// Hands out no slot from here on. Those that are taken come back as ever.
    pub fn close(&self) {
        self.change(|state| Some(State { closed: true, ..state }));
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Whether it is closed and every slot has come back.
    pub fn is_drained(&self) -> bool {
        // Acquire: whoever acts on the end of all calls sees what they did.
        let state = State::read(self.word.load(Ordering::Acquire));
        state.closed && state.taken == 0
    }

    /// Changes the word in one step; false if there is nothing to change to.
    fn change(&self, next: impl Fn(State) -> Option<State>) -> bool {
        // AcqRel: whoever takes a slot sees what its last holder did, and releases hand that on.
        // Changes in between, of any kind, are read-modify-writes and so do not break the chain.
        // A failed attempt learns nothing that is acted upon.
        let changed = self.word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |word| {
            next(State::read(word)).map(State::word)
        });
        changed.is_ok()
    }

    fn state(&self) -> State {
        // Figures for people and for choosing among workers: out of date as soon as they are read.
        State::read(self.word.load(Ordering::Relaxed))
    }
}

impl Slots for ThreadSlots {
    fn capacity(&self) -> usize {
        self.state().capacity as usize
    }

    fn load(&self) -> usize {
        self.state().taken as usize
    }

    fn try_acquire(&self) -> bool {
        self.change(|state| {
            let free = !state.closed && state.taken < state.capacity;
            free.then_some(State { taken: state.taken + 1, ..state })
        })
    }

    fn release(&self) {
        let released = self.change(|state| {
            let taken = state.taken.checked_sub(1)?;
            Some(State { taken, ..state })
        });
        debug_assert!(released, "a slot was given back that nobody had taken");
    }
}

#[cfg(all(test, not(snakepit_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::thread;

    use snakepit_core::Lease;

    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let slots = ThreadSlots::new(2);
        assert!(slots.try_acquire() && slots.try_acquire());
        assert!(!slots.try_acquire());
        assert_eq!((slots.capacity(), slots.load()), (2, 2));
        slots.release();
        assert!(slots.try_acquire());
    }

    #[test]
    fn fewer_slots_end_no_call_and_more_are_there_at_once() {
        let slots = ThreadSlots::new(3);
        assert!((0..3).all(|_| slots.try_acquire()));
        slots.resize(1);
        assert_eq!((slots.capacity(), slots.load()), (1, 3));
        slots.release();
        slots.release();
        assert!(!slots.try_acquire(), "one is still taken, and there is one");
        slots.release();
        assert!(slots.try_acquire());
        slots.resize(2);
        assert!(slots.try_acquire());
    }

    #[test]
    fn a_closed_worker_has_no_free_slot_and_is_drained_with_the_last_release() {
        let slots = ThreadSlots::new(2);
        assert!(slots.try_acquire());
        slots.close();
        assert!(!slots.try_acquire());
        assert!(!slots.is_drained());
        slots.resize(8);
        assert!(!slots.try_acquire(), "closed for good");
        slots.release();
        assert!(slots.is_drained());
        assert_eq!(slots.load(), 0);
    }

    /// Real threads, leases and resizes: what loom shows for three threads holds for eight.
    #[test]
    fn under_load_there_are_never_more_leases_than_slots_and_none_is_lost() {
        const MOST: usize = 5;
        let tracker = Arc::new(ThreadSlots::new(MOST));
        let slots = Arc::clone(&tracker) as Arc<dyn Slots>;
        let (held, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let leases = AtomicUsize::new(0);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..50_000 {
                            let Some(lease) = Lease::acquire(&slots) else {
                                thread::yield_now();
                                continue;
                            };
                            let now = held.fetch_add(1, Ordering::SeqCst) + 1;
                            assert!(now <= MOST, "{now} leases at a time");
                            leases.fetch_add(1, Ordering::Relaxed);
                            held.fetch_sub(1, Ordering::SeqCst);
                            drop(lease);
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                for capacity in (1..=MOST).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    tracker.resize(capacity);
                    thread::yield_now();
                }
            });
            let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(ended.iter().all(Result::is_ok));
        });
        assert!(leases.into_inner() > 0);
        assert_eq!(tracker.load(), 0);
        tracker.close();
        assert!(tracker.is_drained());
    }
}

#[cfg(all(test, snakepit_loom))]
mod loom_models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    /// Every interleaving with up to three preemptions: each operation is a loop, and with no bound
    /// there are more than a day has time for. A mistake in one exchange shows with two.
    fn explore(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }

    /// Counts who holds a slot; fails as soon as more do than ever were allowed.
    struct Held {
        slots: ThreadSlots,
        held: AtomicUsize,
        most: usize,
    }

    impl Held {
        fn new(capacity: usize, most: usize) -> Arc<Self> {
            Arc::new(Self { slots: ThreadSlots::new(capacity), held: AtomicUsize::new(0), most })
        }

        fn visit(&self) -> usize {
            if !self.slots.try_acquire() {
                return 0;
            }
            let now = self.held.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(now <= self.most, "{now} slots taken at a time");
            self.held.fetch_sub(1, Ordering::SeqCst);
            self.slots.release();
            1
        }
    }

    #[test]
    fn slots_are_never_more_than_there_are_and_all_come_back() {
        explore(|| {
            let held = Held::new(2, 2);
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let held = Arc::clone(&held);
                    thread::spawn(move || held.visit())
                })
                .collect();
            let mut visits = held.visit();
            visits += others.into_iter().map(|other| other.join().unwrap()).sum::<usize>();
            assert!(visits >= 2, "a free slot was refused");
            assert_eq!(held.slots.load(), 0);
            assert!(held.slots.try_acquire() && held.slots.try_acquire());
            assert!(!held.slots.try_acquire(), "a slot came back twice");
        });
    }

    #[test]
    fn whoever_takes_a_slot_sees_what_its_last_holder_did() {
        explore(|| {
            let shared = Arc::new((ThreadSlots::new(1), UnsafeCell::new(0_usize)));
            let visit = |shared: &(ThreadSlots, UnsafeCell<usize>)| {
                if !shared.0.try_acquire() {
                    return 0;
                }
                #[expect(unsafe_code, reason = "the exclusive access that the model checks")]
                // SAFETY: the only slot is held; that this excludes everybody is the model's claim.
                shared.1.with_mut(|visits| unsafe { *visits += 1 });
                shared.0.release();
                1
            };
            let other = Arc::clone(&shared);
            let other = thread::spawn(move || visit(&other));
            // Another kind of change between a release and an acquire must not hide the former.
            shared.0.resize(1);
            let visits = visit(&shared) + other.join().unwrap();
            assert!(shared.0.try_acquire());
            #[expect(unsafe_code, reason = "the exclusive access that the model checks")]
            // SAFETY: the slot is held and the other thread has ended.
            let seen = shared.1.with(|seen| unsafe { *seen });
            assert_eq!(seen, visits);
        });
    }

    #[test]
    fn a_resize_beside_calls_loses_nothing_and_allows_no_more_than_either_number() {
        explore(|| {
            let held = Held::new(1, 2);
            let resizing = Arc::clone(&held);
            let resizing = thread::spawn(move || resizing.slots.resize(2));
            let other = Arc::clone(&held);
            let other = thread::spawn(move || other.visit());
            held.visit();
            other.join().unwrap();
            resizing.join().unwrap();
            assert_eq!((held.slots.capacity(), held.slots.load()), (2, 0));
        });
    }

    #[test]
    fn a_shrunk_worker_hands_out_nothing_above_its_new_number() {
        explore(|| {
            let held = Held::new(2, 2);
            assert!(held.slots.try_acquire());
            let other = Arc::clone(&held);
            let other = thread::spawn(move || {
                other.slots.resize(1);
                // The one that is taken is all there is from here on.
                assert!(!other.slots.try_acquire());
            });
            other.join().unwrap();
            held.slots.release();
            assert!(held.slots.try_acquire() && !held.slots.try_acquire());
        });
    }

    #[test]
    fn after_the_close_nobody_gets_a_slot_and_the_last_release_drains() {
        explore(|| {
            let held = Held::new(2, 2);
            let closing = Arc::clone(&held);
            let closing = thread::spawn(move || {
                closing.slots.close();
                assert!(!closing.slots.try_acquire(), "a slot was handed out after the close");
            });
            let other = Arc::clone(&held);
            let other = thread::spawn(move || other.visit());
            held.visit();
            other.join().unwrap();
            closing.join().unwrap();
            assert!(held.slots.is_drained());
        });
    }
}
