//! Top-1 accuracy on the CIFAR-10 test set.
//!
//! The binary version of the set (<https://www.cs.toronto.edu/~kriz/cifar.html>) is records of one
//! label byte and 3072 pixel bytes: a 32x32 plane of red, one of green, one of blue.

use std::path::Path;

use anyhow::{Result, ensure};
use nqe::Emulator;
use rayon::prelude::*;

use super::report::Cifar10Figures;
use crate::frames::read_bounded;
use crate::terminal;

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PLANE;
const RECORDS: usize = 10_000;
const CLASSES: usize = 10;

/// Classifies all of `folder`/test_batch.bin.
pub(super) fn measure(folder: &Path, emulator: &Emulator) -> Result<Cifar10Figures> {
    let labels = emulator.program().labels().len();
    ensure!(
        labels == CLASSES,
        "the classification program has {labels} labels, and CIFAR-10 has {CLASSES}"
    );
    let path = folder.join("test_batch.bin");
    let bytes = read_bounded(&path, (RECORD * RECORDS) as u64)?;
    ensure!(
        bytes.len() == RECORD * RECORDS,
        "{} has {} bytes, and {RECORDS} records of {RECORD} bytes are needed",
        path.display(),
        bytes.len()
    );
    let bar = terminal::bar(RECORDS as u64, "CIFAR-10");
    let correct = bytes
        .par_chunks_exact(RECORD)
        .map(|record| {
            let label = usize::from(record[0]);
            ensure!(
                label < CLASSES,
                "{} has a record with label {label}, and labels are 0 to 9",
                path.display()
            );
            let logits = emulator.classify_frame(&interleave(&record[1..]), 32, 32)?;
            bar.inc(1);
            Ok(usize::from(argmax(&logits) == label))
        })
        .sum::<Result<usize>>()?;
    bar.finish_and_clear();
    Ok(Cifar10Figures {
        top1: correct as f64 / RECORDS as f64,
        count: RECORDS,
    })
}

/// Planes of red, green and blue to R, G, B pixels.
fn interleave(planes: &[u8]) -> Vec<u8> {
    (0..PLANE)
        .flat_map(|i| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]])
        .collect()
}

/// Index of the largest logit, the first of equals.
fn argmax(logits: &[i32]) -> usize {
    let mut best = 0;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels() {
        let planes: Vec<u8> = (0..3 * PLANE).map(|i| (i / PLANE) as u8 * 100).collect();
        let pixels = interleave(&planes);
        assert_eq!(pixels.len(), 3 * PLANE);
        assert!(pixels.chunks_exact(3).all(|p| p == [0, 100, 200]));
    }

    #[test]
    fn the_first_of_equal_logits_wins() {
        assert_eq!(argmax(&[-3, 7, 7, 1]), 1);
        assert_eq!(argmax(&[0, 0]), 0);
    }
}
