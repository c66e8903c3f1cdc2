//! The instructions themselves. Rust 1.95 has no stable intrinsics for AMX, so the loops are assembly.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::LazyLock;

use super::shape::{BLOCKS, DEPTH, MOST_RUNS, Pair, ROWS, Row, Weights};
use crate::operands::Lanes;

/// `arch_prctl` and its argument: the state component of tile data.
const SYS_ARCH_PRCTL: usize = 158;
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
const XFEATURE_XTILEDATA: usize = 18;

/// Pairs of tiles that one call of the assembly goes through.
const PAIRS: usize = 8;

static PRESENT: LazyLock<bool> = LazyLock::new(|| supported() && permitted());

/// Whether the instructions are there and this process may use them.
pub(crate) fn present() -> bool {
    *PRESENT
}

/// The operand of `ldtilecfg`: shapes of the eight tile registers.
#[repr(C)]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Two tiles of windows, as bytes from where runs begin, and where their sums go.
#[derive(Clone, Copy)]
#[repr(C)]
struct Place {
    at: [usize; 2],
    sums: [*mut Lanes; 2],
}

/// The assembly's operand; the assembly has its offsets built in.
#[repr(C, align(64))]
struct Call {
    config: Config,
    runs_end: *const *const u8,   // 64
    steps: usize,                 // 72
    weights: *const Row,          // 80
    pairs_end: *const Place,      // 88
    runs: [*const u8; MOST_RUNS], // 96
    pairs: [Place; PAIRS],        // 352
    starts: *const Lanes,         // 608
}

const _: () = {
    assert!(size_of::<Config>() == 64);
    assert!(std::mem::offset_of!(Call, runs_end) == 64);
    assert!(std::mem::offset_of!(Call, runs) == 96);
    assert!(std::mem::offset_of!(Call, pairs) == 352);
    assert!(std::mem::offset_of!(Call, starts) == 608);
    assert!(size_of::<Place>() == 32);
    assert!(BLOCKS * size_of::<Lanes>() == 128);
};

impl Config {
    /// Registers 0 to 3 are sums, 4 and 5 windows, 6 and 7 weights.
    fn new(rows: usize) -> Self {
        let rows = rows as u8;
        let mut config = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        config.row_bytes[..8].fill(DEPTH as u16);
        config.rows[..6].fill(rows);
        config.rows[6..8].fill(ROWS as u8);
        config
    }
}

/// Whether processor and system have tiles, in the one shape there is so far.
fn supported() -> bool {
    let highest = __cpuid(0).eax;
    if highest < 0x1d || __cpuid(1).ecx >> 27 & 1 == 0 {
        return false; // no palettes, or no `xgetbv`
    }
    let features = __cpuid_count(7, 0).edx;
    let wanted = 1 << 24 | 1 << 25; // AMX-TILE, AMX-INT8
    let palette = __cpuid_count(0x1d, 1);
    let shape = (palette.eax, palette.ebx, palette.ecx as u16);
    if features & wanted != wanted || shape != (1024 << 16 | 8192, 8 << 16 | 64, 16) {
        return false;
    }
    let enabled: u32;
    // SAFETY: OSXSAVE says that `xgetbv` may be used; it only reads a register.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    let tiles = 0b11 << 17; // XTILECFG and XTILEDATA
    enabled & tiles == tiles
}

/// Asks Linux to let this process use tile registers, which it saves only for those that asked.
fn permitted() -> bool {
    let result: isize;
    // SAFETY: this call of the system only reads its two numbers; it changes what the process may do, nothing it has.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// The sums of tiles of windows that begin `stride` bytes apart in each run.
pub(super) fn multiply(
    weights: &Weights,
    runs: &[*const u8],
    stride: usize,
    rows: usize,
    mut pairs: impl Iterator<Item = Pair>,
    sums: &mut [Lanes],
) {
    let nowhere = Place {
        at: [0; 2],
        sums: [std::ptr::null_mut(); 2],
    };
    let mut call = Call {
        config: Config::new(rows),
        runs_end: std::ptr::null(),
        steps: weights.steps,
        weights: weights.rows.as_ptr(),
        pairs_end: std::ptr::null(),
        runs: [std::ptr::null(); MOST_RUNS],
        pairs: [nowhere; PAIRS],
        starts: weights.starts.as_ptr(),
    };
    call.runs[..runs.len()].copy_from_slice(runs);
    call.runs_end = call.runs[runs.len()..].as_ptr();
    let begin = sums.as_mut_ptr();
    loop {
        let mut count = 0;
        for (place, pair) in call.pairs.iter_mut().zip(pairs.by_ref()) {
            let sums = pair.first.map(|first| begin.wrapping_add(first * BLOCKS));
            *place = Place { at: pair.at, sums };
            count += 1;
        }
        if count == 0 {
            return;
        }
        call.pairs_end = call.pairs[count..].as_ptr();
        // SAFETY: tiles are packed only where they are present and permitted. `Matrix::multiply` has checked that all
        // windows lie in the input and have their sums; the rows of weights are those of as many runs and steps.
        unsafe { products(&call, stride) };
    }
}

/// Goes through the pairs of a [`Call`]. Tile registers are set up, used and released within one block, since the
/// compiler knows nothing of them. Each step loads two tiles of windows and two of weights for four products.
///
/// # Safety
/// The processor has the instructions and the process may use tiles. For each run, pair and tile, `rows` windows can be
/// read from its place on, `stride` bytes apart, each `steps` times 64 bytes; there is a run and a step, and for each of
/// them there are 32 rows of weights; 128 bytes of starts are there; and `rows` sums of 128 bytes can be written.
/// Pointers of a call are to its own arrays.
unsafe fn products(call: &Call, stride: usize) {
    // SAFETY: reads and writes only what the caller promises; all tile registers are released at the end.
    unsafe {
        asm!(
            "ldtilecfg [{call}]",
            "lea {pair}, [{call} + 352]",
            "2:",
            // All rows of a tile of sums start from the same ones.
            "mov {first}, [{call} + 608]",
            "xor {step:e}, {step:e}",
            "tileloadd tmm0, [{first} + {step} * 1]",
            "tileloadd tmm1, [{first} + {step} * 1 + 64]",
            "tileloadd tmm2, [{first} + {step} * 1]",
            "tileloadd tmm3, [{first} + {step} * 1 + 64]",
            "mov {weights}, [{call} + 80]",
            "lea {run}, [{call} + 96]",
            "3:",
            "mov {first}, [{run}]",
            "mov {second}, {first}",
            "add {first}, [{pair}]",
            "add {second}, [{pair} + 8]",
            "mov {step}, [{call} + 72]",
            "4:",
            "tileloadd tmm6, [{weights} + {line} * 1]",
            "tileloadd tmm4, [{first} + {stride} * 1]",
            "tdpbusd tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{second} + {stride} * 1]",
            "tdpbusd tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{weights} + {line} * 1 + 1024]",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm3, tmm5, tmm7",
            "add {weights}, 2048",
            "add {first}, 64",
            "add {second}, 64",
            "dec {step}",
            "jnz 4b",
            "add {run}, 8",
            "cmp {run}, [{call} + 64]",
            "jne 3b",
            "mov {first}, [{pair} + 16]",
            "mov {second}, [{pair} + 24]",
            "tilestored [{first} + {line} * 2], tmm0",
            "tilestored [{first} + {line} * 2 + 64], tmm1",
            "tilestored [{second} + {line} * 2], tmm2",
            "tilestored [{second} + {line} * 2 + 64], tmm3",
            "add {pair}, 32",
            "cmp {pair}, [{call} + 88]",
            "jne 2b",
            "tilerelease",
            call = in(reg) call,
            stride = in(reg) stride,
            line = in(reg) DEPTH,
            pair = out(reg) _,
            weights = out(reg) _,
            run = out(reg) _,
            first = out(reg) _,
            second = out(reg) _,
            step = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}
