//! Chooses the bits that make a place's contexts: one after the other that which leaves the least entropy.

use super::planes::Planes;
use crate::contexts::{Mode, NAMED, Names, Plane};

/// Bits that a cell of a context costs, so that rare cells are no gain.
const CELL_COST: f64 = 2.0;
/// Of the candidates for the first two, so many are candidates for the rest.
const SHORT_LIST: usize = 48;

/// The bits for the contexts of a place.
pub(super) fn names(planes: &Planes, mode: Mode, place: usize) -> Names {
    let n = planes.bits;
    let (class, k) = (place / n, place % n);
    let whole = |plane: Plane| plane as usize * n..(plane as usize + 1) * n;
    let coded = |plane: Plane| plane as usize * n..plane as usize * n + k;
    let one = |plane: Plane| plane as usize * n + k;
    use Plane::{
        Above, AboveChanged, AboveLeft, AboveRight, Before, Changed, Left, LeftChanged, Mostly,
        Own, Sure, Surprise,
    };
    let around = [
        whole(Left),
        whole(Above),
        whole(AboveLeft),
        whole(AboveRight),
    ];
    let with_own = [&[coded(Own)], &around[..]].concat();
    let sets = match mode {
        Mode::Intra => [
            (vec![], vec![coded(Own)]),
            (vec![], with_own),
            (vec![], around.to_vec()),
        ],
        Mode::Inter => [
            (vec![], vec![coded(Own), whole(Before), coded(Changed)]),
            (
                vec![one(Mostly), one(Sure)],
                vec![
                    coded(Surprise),
                    whole(Mostly),
                    whole(Sure),
                    whole(LeftChanged),
                    whole(AboveChanged),
                ],
            ),
            (vec![one(Mostly)], with_own),
        ],
    };
    // A place of its own for each class but for the bit that tells the class.
    let among = match (k, class) {
        (0, _) => planes.all(),
        (_, 0) => and(&planes.all(), planes.plane(0), true),
        _ => and(&planes.all(), planes.plane(0), false),
    };
    sets.map(|(mut chosen, candidates)| {
        let candidates = candidates.into_iter().flatten().collect();
        choose(planes, k, &among, &mut chosen, candidates);
        // A bit that is always known, where there are too few.
        chosen.resize(NAMED, one(Left));
        std::array::from_fn(|at| chosen[at] as u16)
    })
}

/// Chooses bits in addition to those that are, among the patches of `among`.
fn choose(
    planes: &Planes,
    k: usize,
    among: &[u64],
    chosen: &mut Vec<usize>,
    mut candidates: Vec<usize>,
) {
    let target = planes.plane(k);
    let mut cells = vec![among.to_vec()];
    for name in chosen.iter() {
        divide(&mut cells, planes.plane(*name));
    }
    candidates.retain(|name| !chosen.contains(name));
    for step in 0.. {
        if chosen.len() == NAMED || candidates.is_empty() {
            return;
        }
        let ones: Vec<_> = cells.iter().map(|cell| and(cell, target, false)).collect();
        let cost = |name: &usize| (cost(&cells, &ones, planes.plane(*name)), *name);
        let mut costs: Vec<_> = candidates.iter().map(cost).collect();
        costs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let best = costs[0].1;
        if step == 1 {
            candidates = costs
                .into_iter()
                .take(SHORT_LIST)
                .map(|(_, name)| name)
                .collect();
        }
        candidates.retain(|name| *name != best);
        divide(&mut cells, planes.plane(best));
        chosen.push(best);
    }
}

/// Bits that the target takes when each cell is divided by a plane.
fn cost(cells: &[Vec<u64>], ones: &[Vec<u64>], plane: &[u64]) -> f64 {
    let parts = cells.iter().zip(ones).map(|(cell, ones)| {
        let (all, set) = (count(cell), count(ones));
        let (with, set_with) = (count_both(cell, plane), count_both(ones, plane));
        part_cost(set_with, with) + part_cost(set - set_with, all - with)
    });
    parts.sum()
}

/// Bits that `all` bits take of which `set` are set.
fn part_cost(set: u64, all: u64) -> f64 {
    let term = |count: u64| match count {
        0 => 0.0,
        _ => count as f64 * (all as f64 / count as f64).log2(),
    };
    let cost = if all > 0 { CELL_COST } else { 0.0 };
    term(set) + term(all - set) + cost
}

fn divide(cells: &mut Vec<Vec<u64>>, plane: &[u64]) {
    let both = |cell: &Vec<u64>| [and(cell, plane, true), and(cell, plane, false)];
    *cells = cells
        .iter()
        .flat_map(both)
        .filter(|cell| count(cell) > 0)
        .collect();
}

fn and(one: &[u64], other: &[u64], inverted: bool) -> Vec<u64> {
    let flip = if inverted { u64::MAX } else { 0 };
    one.iter()
        .zip(other)
        .map(|(one, other)| one & (other ^ flip))
        .collect()
}

fn count(words: &[u64]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

fn count_both(one: &[u64], other: &[u64]) -> u64 {
    let both = one
        .iter()
        .zip(other)
        .map(|(one, other)| (one & other).count_ones());
    both.map(u64::from).sum()
}
