//! The doors that bytes of strangers come through, each as one function of bytes: what the fuzzers call, and what the
//! tests replay. `docs/fuzzing.md` has the bounds and what was run.
#![forbid(unsafe_code)]

mod coded;
mod decoder;
mod frame;
mod latent;
mod program;
mod uplink;

use std::time::Duration;

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Longest that the work on one input may take.
const LONGEST: Duration = Duration::from_secs(1);

/// A door.
pub struct Door {
    /// As the fuzz target and the folder of its seeds are called.
    pub name: &'static str,
    /// The code behind it. Panics if a required property does not hold.
    run: fn(&[u8]),
    /// Most bytes that may be allocated at once, whatever the input,
    fixed: usize,
    /// and more for each byte of input.
    each: usize,
}

/// All doors.
pub static DOORS: [&Door; 6] = [&PROGRAM, &LATENT, &CODED, &UPLINK, &FRAME, &DECODER];

/// The program loader, and the emulator on what loads.
pub static PROGRAM: Door = Door {
    name: "program",
    run: program::run,
    fixed: 8 << 20,
    each: 64,
};

/// The latent container, and the decoder on what is in it.
pub static LATENT: Door = Door {
    name: "latent",
    run: latent::run,
    fixed: 8 << 20,
    each: 8,
};

/// Coded latents, and the references of a stream.
pub static CODED: Door = Door {
    name: "coded",
    run: coded::run,
    fixed: 1 << 20,
    each: 64,
};

/// The messages of the gRPC stream, both ways, and their checks.
pub static UPLINK: Door = Door {
    name: "uplink",
    run: uplink::run,
    fixed: 1 << 20,
    each: 8,
};

/// Images in all content types.
pub static FRAME: Door = Door {
    name: "frame",
    run: frame::run,
    fixed: 32 << 20,
    each: 16,
};

/// The loader of decoder weights, and the decoder that they make.
pub static DECODER: Door = Door {
    name: "decoder",
    run: decoder::run,
    fixed: 8 << 20,
    each: 256,
};

impl Door {
    /// Takes an input through the door.
    ///
    /// # Panics
    /// When something does not hold that must, more memory was taken than the door's bound, or a fuzzer's input took
    /// longer than a second of work.
    pub fn enter(&self, input: &[u8]) {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let started = cpu_time();
        (self.run)(input);
        let worked = cpu_time() - started;
        let taken = HEAP.peak_usage().saturating_sub(before);
        let bound = self.fixed + self.each * input.len();
        assert!(
            taken <= bound,
            "{} bytes of input took {taken} bytes of memory, more than {bound}",
            input.len()
        );
        // Of fuzzers alone: tests run on machines and in profiles of any speed.
        assert!(!cfg!(fuzzing) || worked <= LONGEST, "it took {worked:?}");
    }
}

/// Processor time of this thread, independent of the load of the machine.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
