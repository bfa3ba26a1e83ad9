//! Goal of this test: moving bytes allocates no memory, whatever their number: ten times the bytes cause no further
//! allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use qssl_core::settings::Mode;
use qssl_test_common::in_memory::{self, Rig};
use qssl_test_common::world::FarEnd;

/// Counts the allocations of the core, and of no other code.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does everything. Counting does not affect it, and allocates nothing itself: the cells
// of the thread have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if in_memory::in_core() {
            ALLOCATIONS.set(ALLOCATIONS.get() + 1);
            BYTES.set(BYTES.get() + layout.size() as i64);
        }
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if in_memory::in_core() {
            BYTES.set(BYTES.get() - layout.size() as i64);
        }
        // SAFETY: the caller's promises are passed on as they are.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations `act` makes.
fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

#[test]
fn no_message_allocates_on_its_way_through_the_core() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        for far_end in [FarEnd::Sink, FarEnd::Source] {
            let clients = if mode == Mode::Transparent { 1 } else { 12 };
            let mut rig = Rig::new(mode, far_end, clients);
            let mut carry = |bytes| match far_end {
                FarEnd::Sink => rig.send(bytes),
                _ => rig.receive(bytes),
            };
            // Queues grow to the size that they need.
            carry(WARM_UP_BYTES);
            let once = allocations(|| carry(1_460_000));
            let ten_times = allocations(|| carry(14_600_000));
            assert_eq!((once, ten_times), (0, 0), "{mode:?}, {far_end:?}");
        }
    }
}

#[test]
fn connections_give_back_what_they_take() {
    let mut rig = Rig::new(Mode::Push, FarEnd::Sink, 12);
    let mut one_after_the_other = |count| {
        let before = BYTES.get();
        for _ in 0..count {
            rig.exchange_a_client();
            rig.send(10_000);
        }
        BYTES.get() - before
    };
    one_after_the_other(3_000);
    let grown = one_after_the_other(1_000);
    assert!(grown < 4_096, "{grown} bytes more after a thousand connections");
}

/// Some messages of each kind.
const WARM_UP_BYTES: u64 = 4_000_000;
