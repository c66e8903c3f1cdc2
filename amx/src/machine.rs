//! The instructions themselves.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::LazyLock;

use crate::operands::{Element, Line, MAX_RUNS, ROW_BYTES, Sums, Tile, Weights, Windows};

/// `arch_prctl` and its argument: the state component of tile data.
const SYS_ARCH_PRCTL: usize = 158;
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
const XFEATURE_XTILEDATA: usize = 18;

/// Pairs of tiles that one call of the assembly goes through.
const PAIRS: usize = 8;

/// Proof that the instructions are there and that this process may use them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present(());

static PRESENT: LazyLock<bool> = LazyLock::new(|| supported() && permitted());

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
struct Pair {
    at: [usize; 2],
    sums: [*mut u8; 2],
}

/// The assembly's operand; the assembly has its offsets built in.
#[repr(C, align(64))]
struct Call {
    config: Config,
    runs_end: *const *const u8,  // 64
    steps: usize,                // 72
    weights: *const Line,        // 80
    pairs_end: *const Pair,      // 88
    runs: [*const u8; MAX_RUNS], // 96
    pairs: [Pair; PAIRS],        // 352
}

const _: () = {
    assert!(size_of::<Config>() == 64);
    assert!(std::mem::offset_of!(Call, runs_end) == 64);
    assert!(std::mem::offset_of!(Call, runs) == 96);
    assert!(std::mem::offset_of!(Call, pairs) == 352);
    assert!(size_of::<Pair>() == 32);
    assert!(size_of::<Sums<u32>>() == 128);
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
        config.row_bytes[..8].fill(ROW_BYTES as u16);
        config.rows[..6].fill(rows);
        config.rows[6..8].fill(16);
        config
    }
}

/// Whether processor and system have tiles, integers and bf16, in the one shape there is so far.
fn supported() -> bool {
    let highest = __cpuid(0).eax;
    if highest < 0x1d || __cpuid(1).ecx >> 27 & 1 == 0 {
        return false; // no palettes, or no `xgetbv`
    }
    let features = __cpuid_count(7, 0).edx;
    let wanted = 1 << 22 | 1 << 24 | 1 << 25; // AMX-BF16, AMX-TILE, AMX-INT8
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

/// Goes through the pairs of a [`Call`] with one multiplying instruction. Tile registers are set up, used and released
/// within one block, since the compiler knows nothing of them. Each step loads two tiles of windows and two of weights
/// for four products.
macro_rules! product {
    ($name:ident, $multiply:literal) => {
        /// # Safety
        /// The processor has the instructions and the process may use tiles. For each run, pair and tile, `rows`
        /// windows can be read from its place on, `stride` bytes apart, each `steps` times 64 bytes; for each run and
        /// step there are 32 lines of weights; and `rows` sums of 128 bytes can be written. Pointers of a call are to
        /// its own arrays.
        unsafe fn $name(call: &Call, stride: usize) {
            // SAFETY: reads and writes only what the caller promises; all tile registers are released at the end.
            unsafe {
                asm!(
                    "ldtilecfg [{call}]",
                    "lea {pair}, [{call} + 352]",
                    "2:",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
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
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm5, [{second} + {stride} * 1]",
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    "tileloadd tmm7, [{weights} + {line} * 1 + 1024]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
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
                    line = in(reg) ROW_BYTES,
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
    };
}

product!(product_u8, "tdpbusd");
product!(product_bf16, "tdpbf16ps");

/// Many products of registers alone, four independent ones a round.
macro_rules! spin {
    ($name:ident, $multiply:literal) => {
        /// # Safety
        /// The processor has the instructions and the process may use tiles; there is a round.
        unsafe fn $name(config: &Config, rounds: u64) {
            // SAFETY: reads only the configuration; all tile registers are released at the end.
            unsafe {
                asm!(
                    "ldtilecfg [{config}]",
                    "2:",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
                    "dec {rounds}",
                    "jnz 2b",
                    "tilerelease",
                    config = in(reg) config,
                    rounds = inout(reg) rounds => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, readonly),
                );
            }
        }
    };
}

spin!(spin_u8, "tdpbusd");
spin!(spin_bf16, "tdpbf16ps");

impl Present {
    pub(crate) fn detect() -> Option<Self> {
        PRESENT.then_some(Self(()))
    }

    /// As [`Amx::multiply`](crate::Amx::multiply), which has checked that all windows and sums are there.
    pub(crate) fn multiply<T: Element>(
        self,
        weights: &Weights<T>,
        windows: Windows<'_, T>,
        tiles: &[Tile],
        sums: &mut [Sums<T::Sum>],
    ) {
        if weights.steps() == 0 {
            for tile in tiles {
                sums[tile.first..][..windows.rows].fill(Sums::default());
            }
            return;
        }
        let nowhere = Pair {
            at: [0; 2],
            sums: [std::ptr::null_mut(); 2],
        };
        let mut call = Call {
            config: Config::new(windows.rows),
            runs_end: std::ptr::null(),
            steps: weights.steps(),
            weights: weights.lines().as_ptr(),
            pairs_end: std::ptr::null(),
            runs: [std::ptr::null(); MAX_RUNS],
            pairs: [nowhere; PAIRS],
        };
        for (place, run) in call.runs.iter_mut().zip(windows.runs) {
            *place = run.as_ptr().cast();
        }
        call.runs_end = call.runs[windows.runs.len()..].as_ptr();
        let sums = sums.as_mut_ptr();
        for tiles in tiles.chunks(2 * PAIRS) {
            let pairs = tiles.len().div_ceil(2);
            for (pair, tiles) in call.pairs.iter_mut().zip(tiles.chunks(2)) {
                // The last tile of an odd number is computed twice.
                let tiles = [tiles[0], tiles[tiles.len() - 1]];
                *pair = Pair {
                    at: tiles.map(|tile| tile.at * size_of::<T>()),
                    sums: tiles.map(|tile| sums.wrapping_add(tile.first).cast()),
                };
            }
            call.pairs_end = call.pairs[pairs..].as_ptr();
            let stride = windows.stride * size_of::<T>();
            // SAFETY: a value of this type exists only where AMX is present and permitted. `Amx::multiply` checked that
            // all windows of the tiles lie in all runs and have their sums, and that the lines of weights are those of
            // as many runs; `T` is `u8` or `bf16`, both with sums of four bytes.
            unsafe {
                if T::INTEGER {
                    product_u8(&call, stride);
                } else {
                    product_bf16(&call, stride);
                }
            }
        }
    }

    /// Operations of so many rounds of products, two per multiply-accumulate.
    pub(crate) fn spin<T: Element>(self, rounds: u64) -> u64 {
        let config = Config::new(16);
        // SAFETY: a value of this type exists only where AMX is present and permitted.
        unsafe {
            if T::INTEGER {
                spin_u8(&config, rounds.max(1));
            } else {
                spin_bf16(&config, rounds.max(1));
            }
        }
        rounds * 4 * 2 * (16 * 16 * T::DEEP) as u64
    }
}
