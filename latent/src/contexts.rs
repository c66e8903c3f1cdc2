//! The contexts of a bit: what is known of its patch, of its neighbours and of the camera's frame before.
//!
//! A patch's surroundings are planes of bits, one byte each, so that a prior can name any of them by one number: bit `k`
//! of a plane is `plane * bits + k`, see [`Plane`]. Besides bits that the prior names there are contexts that are the
//! same for all priors. They count how much of the patch has come otherwise than in its neighbours or in the frame
//! before, each as a mean that falls by a 32nd with each bit.

/// Bits that a prior may name, by the patch that they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Plane {
    /// This patch, as far as it is coded; the rest is that of the patch before.
    Own,
    /// The patch to the left.
    Left,
    /// The patch above.
    Above,
    /// The patch above and to the left.
    AboveLeft,
    /// The patch above and to the right.
    AboveRight,
    /// This patch in the frame before.
    Before,
    /// Whether this patch's bit differs from the one before, as far as it is coded.
    Changed,
    /// The same, of bits whose history is sure alone.
    Surprise,
    /// Whether the bit of the patch to the left differs from the one before.
    LeftChanged,
    /// The same above.
    AboveChanged,
    /// The value that the bit mostly had.
    Mostly,
    /// Whether its history is sure.
    Sure,
}

/// Number of planes.
pub(crate) const PLANES: usize = 12;
/// Bits that each selected context is made of.
pub(crate) const NAMED: usize = 7;
/// Contexts of bits that the prior names.
pub(crate) const SELECTED: usize = 3;
/// All contexts of a bit.
pub(crate) const INPUTS: usize = 6;
/// Values that a context has.
pub(crate) const CELLS: usize = 128;
/// Sets of weights for each place.
pub(crate) const OWN_SETS: usize = 8;
/// Sets of weights for all places together.
pub(crate) const SHARED_SETS: usize = 128;

/// Room for all planes, so that any number that a prior names is within it.
const ROOM: usize = 1 << 16;
/// A mean falls by this power of two of itself with each bit.
const FALL: i32 = 5;
/// A mean at which all bits differ.
const ALL: i32 = 65_535;
/// Mean of neighbours that nothing is known of.
const UNKNOWN: i32 = 24_000;
/// States of the history below this, or above 15 less it, are sure.
const SURE: u8 = 3;

/// How a bit is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By its own frame alone.
    Intra,
    /// With the frame before.
    Inter,
}

/// The bits that make the selected contexts, as the prior names them.
pub(crate) type Names = [[u16; NAMED]; SELECTED];

/// The contexts of a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contexts {
    pub(crate) cells: [u32; INPUTS],
    /// Set of weights of the place.
    pub(crate) own: u32,
    /// Set of weights of all places.
    pub(crate) shared: u32,
}

/// The surroundings of a patch.
pub(crate) struct Surroundings {
    planes: Box<[u8; ROOM]>,
    bits: usize,
    /// State of each bit's history.
    pub(crate) history: Vec<u8>,
    /// Bucket of the changes in the patches around, 0 to 6.
    pub(crate) restless: u32,
    /// Bits of this patch that have changed.
    pub(crate) changes: u16,
    from_left: i32,
    from_above: i32,
    changed: i32,
    surprised: i32,
}

impl Surroundings {
    /// For patches of so many bits at most.
    pub(crate) fn new(bits: usize) -> Self {
        let planes = vec![0; ROOM].into_boxed_slice();
        Self {
            planes: planes.try_into().expect("as large as it was made"),
            bits,
            history: vec![0; bits],
            restless: 0,
            changes: 0,
            from_left: UNKNOWN,
            from_above: UNKNOWN,
            changed: 0,
            surprised: 0,
        }
    }

    /// The bits of a plane.
    pub(crate) fn plane(&mut self, plane: Plane) -> &mut [u8] {
        let start = plane as usize * self.bits;
        &mut self.planes[start..start + self.bits]
    }

    /// The bits of all planes, in the order of their numbers.
    pub(crate) fn named(&self) -> &[u8] {
        &self.planes[..PLANES * self.bits]
    }

    #[inline(always)]
    fn at(&self, plane: Plane, k: usize) -> u32 {
        self.planes[(plane as usize * self.bits + k) & (ROOM - 1)].into()
    }

    /// Begins a patch whose neighbours' planes, and with a frame before [`Plane::Before`] and the history, are set.
    pub(crate) fn begin(&mut self) {
        (self.from_left, self.from_above) = (UNKNOWN, UNKNOWN);
        (self.changed, self.surprised, self.changes) = (0, 0, 0);
    }

    /// Sets the planes of the history.
    pub(crate) fn set_history(&mut self) {
        let (mostly, sure) = (
            Plane::Mostly as usize * self.bits,
            Plane::Sure as usize * self.bits,
        );
        for (k, state) in self.history.iter().enumerate() {
            self.planes[mostly + k] = state >> 3;
            self.planes[sure + k] = u8::from(is_sure(*state));
        }
    }

    /// Number of the place: the class of the patch, which its first bit tells, and the bit.
    pub(crate) fn place(&self, k: usize) -> usize {
        let class = if k == 0 { 0 } else { self.planes[0] };
        usize::from(class) * self.bits + k
    }

    /// The contexts of bit `k`.
    #[inline(always)]
    pub(crate) fn contexts(&self, mode: Mode, k: usize, names: &Names) -> Contexts {
        let mut cells = [0; INPUTS];
        for (cell, names) in cells.iter_mut().zip(names) {
            let [a, b, c, d, e, f, g] = names.map(|name| u32::from(self.planes[usize::from(name)]));
            *cell = (a + 2 * b) + 4 * (c + 2 * d) + 16 * ((e + 2 * f) + 4 * g);
        }
        match mode {
            Mode::Intra => self.intra(k, cells),
            Mode::Inter => self.inter(k, cells),
        }
    }

    #[inline(always)]
    fn intra(&self, k: usize, mut cells: [u32; INPUTS]) -> Contexts {
        let (left, above) = (unlike(self.from_left), unlike(self.from_above));
        let both = left * 8 + above;
        let [l, a, al, ar] = [
            Plane::Left,
            Plane::Above,
            Plane::AboveLeft,
            Plane::AboveRight,
        ]
        .map(|plane| self.at(plane, k));
        let classes = self.at(Plane::Left, 0) * 2 + self.at(Plane::Above, 0);
        cells[SELECTED] = both * 2 + l;
        cells[SELECTED + 1] = both * 2 + a;
        cells[SELECTED + 2] = (((l * 2 + a) * 2 + al) * 2 + ar) * 4 + classes;
        Contexts {
            cells,
            own: left,
            shared: both,
        }
    }

    #[inline(always)]
    fn inter(&self, k: usize, mut cells: [u32; INPUTS]) -> Contexts {
        let (changed, surprised) = (moved(self.changed), moved(self.surprised));
        let before = self.at(Plane::Before, k);
        let (left, above) = (
            self.at(Plane::LeftChanged, k),
            self.at(Plane::AboveChanged, k),
        );
        let other_class = k > 0 && self.at(Plane::Before, 0) != self.planes[0].into();
        let history = u32::from(self.history[k]);
        cells[SELECTED] = (before * 8 + changed) * 8 + self.restless;
        cells[SELECTED + 1] =
            (((before * 2 + left) * 2 + above) * 8 + changed) * 2 + u32::from(other_class);
        cells[SELECTED + 2] =
            (history * 4 + [0, 1, 2, 2, 3, 3, 3, 3][surprised as usize]) * 2 + before;
        Contexts {
            cells,
            own: if other_class { 7 } else { surprised },
            shared: history * 8 + surprised,
        }
    }

    /// Takes bit `k`, once it is known.
    #[inline(always)]
    pub(crate) fn take(&mut self, mode: Mode, k: usize, bit: u8) {
        let of = |plane: Plane| (plane as usize * self.bits + k) & (ROOM - 1);
        let at = |plane: Plane| self.planes[of(plane)];
        let (left, above) = (bit ^ at(Plane::Left), bit ^ at(Plane::Above));
        let changed = bit ^ at(Plane::Before);
        let surprise = changed & at(Plane::Sure);
        let (own, changed_at, surprise_at) =
            (of(Plane::Own), of(Plane::Changed), of(Plane::Surprise));
        self.planes[own] = bit;
        match mode {
            Mode::Intra => {
                fall(&mut self.from_left, left);
                fall(&mut self.from_above, above);
            }
            Mode::Inter => {
                self.planes[changed_at] = changed;
                self.planes[surprise_at] = surprise;
                fall(&mut self.changed, changed);
                fall(&mut self.surprised, surprise);
                self.changes += u16::from(changed);
            }
        }
    }
}

/// Moves a mean by one bit, which differs or not.
fn fall(mean: &mut i32, differs: u8) {
    *mean += (i32::from(differs) * ALL - *mean) >> FALL;
}

/// Bucket of the changes in three patches around.
pub(crate) fn restless(changes: u32) -> u32 {
    let limits = [1, 4, 12, 30, 70, 130];
    limits
        .iter()
        .map(|limit| u32::from(changes >= *limit))
        .sum()
}

fn is_sure(state: u8) -> bool {
    !(SURE..=15 - SURE).contains(&state)
}

/// Buckets of a mean of differences from a neighbour, by its upper bits: 0 to 5.
static UNLIKE: [u8; 256] = buckets(&[32, 64, 90, 115, 140]);
/// Buckets of a mean of changes, by its upper bits: 0 to 6.
static MOVED: [u8; 256] = buckets(&[1, 6, 12, 20, 36, 64]);

/// Of each number, how many of the limits it has reached.
const fn buckets(limits: &[u8]) -> [u8; 256] {
    let mut buckets = [0; 256];
    let mut number = 0;
    while number < 256 {
        let mut at = 0;
        while at < limits.len() {
            buckets[number] += (number >= limits[at] as usize) as u8;
            at += 1;
        }
        number += 1;
    }
    buckets
}

fn unlike(mean: i32) -> u32 {
    UNLIKE[usize::from((mean >> 8) as u8)].into()
}

fn moved(mean: i32) -> u32 {
    MOVED[usize::from((mean >> 8) as u8)].into()
}
