//! Upper bounds of the buckets of histograms, in seconds.

/// For operations from a tenth of a millisecond to some seconds, such as a write to a disk.
pub const SHORT: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];
/// For operations from some milliseconds to half a minute, such as work on a frame.
pub const LONG: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// For operations that may take hours, such as waiting for a link.
pub const WAIT: [f64; 12] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0,
];
