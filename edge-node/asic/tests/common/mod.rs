//! Random programs and patches for the tests.
#![allow(dead_code, reason = "each test file uses its own part")]

use nqe::{
    ConvSpec, Element, Map, Mirror, OutputKind, Pool, Program, ProgramBuilder, Pruned, Shared,
    Task, WeightKind, Wiring,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// A small deterministic generator: weights and pixels need no shrinking.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn weights(&mut self, kind: WeightKind, count: usize) -> Vec<i8> {
        (0..count)
            .map(|_| kind.levels()[self.below(kind.levels().len())])
            .collect()
    }

    pub(crate) fn biases(&mut self, bits: u32, count: usize) -> Vec<i32> {
        let reach = 1i64 << (bits - 1);
        (0..count)
            .map(|_| (self.next() as i64 % (2 * reach) - reach) as i32)
            .collect()
    }
}

/// Latent bits that each see the whole patch.
pub(crate) const WHOLE: ConvSpec = ConvSpec {
    out_channels: 16,
    kernel_height: 32,
    kernel_width: 32,
    stride: 1,
    padding: 0,
    groups: 1,
    weights: WeightKind::Ternary,
    output: OutputKind::Latent,
    shift: 0,
    bias_bits: 12,
};

/// A layer as drawn; it is skipped when it does not fit the map it would read.
#[derive(Clone, Debug)]
pub(crate) enum Drawn {
    Conv {
        out_per_group: u32,
        kernel: (u32, u32),
        stride: u32,
        padding: u32,
        groups: u32,
        kind: WeightKind,
        shift: u32,
        sparsity: Sparsity,
    },
    Pool(Pool),
}

/// How much a layer leaves out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparsity {
    /// Stored kernels of a hundred output channels; 100 shares none.
    pub(crate) kernels: u32,
    /// 0 prunes none.
    pub(crate) gap_bits: u32,
    /// Channels kept of a hundred.
    pub(crate) kept: usize,
    /// In place of both, where the channels have halves.
    pub(crate) mirror: Option<Mirror>,
}

impl Sparsity {
    pub(crate) const NONE: Self = Self {
        kernels: 100,
        gap_bits: 0,
        kept: 100,
        mirror: None,
    };

    /// A random wiring of a layer that reads `input`.
    pub(crate) fn wiring(self, spec: &ConvSpec, input: Map, noise: &mut Noise) -> Wiring {
        let (out, channels) = (spec.out_channels, input.channels / spec.groups.max(1));
        let even = match self.mirror {
            Some(Mirror::Outputs) => out % 2 == 0 && (channels % 2 == 0 || input == Map::INPUT),
            Some(Mirror::Inputs) => channels % 2 == 0,
            None => false,
        };
        if even && spec.groups == 1 {
            return Wiring {
                mirror: self.mirror,
                ..Wiring::default()
            };
        }
        let kernels = (out * self.kernels / 100).max(1);
        let shared = (spec.groups == 1 && kernels < out).then(|| Shared {
            kernels,
            kernel_of: (0..out)
                .map(|_| noise.below(kernels as usize) as u16)
                .collect(),
        });
        let mut wiring = Wiring {
            shared,
            ..Wiring::default()
        };
        let mut keep = |_| {
            let kept = |_: &u16| noise.below(100) < self.kept;
            (0..channels as u16).filter(kept).collect()
        };
        wiring.pruned = (self.gap_bits > 0).then(|| Pruned {
            gap_bits: self.gap_bits,
            kept: (0..wiring.kernels(spec)).map(&mut keep).collect(),
        });
        wiring
    }
}

fn sparsities() -> impl Strategy<Value = Sparsity> {
    let kernels = prop_oneof![3 => Just(100u32), 3 => 0u32..100];
    let gap_bits = prop_oneof![1 => Just(0u32), 1 => 1u32..=10];
    let kept = prop_oneof![Just(0usize), Just(2), Just(12), Just(60), Just(100)];
    let mirror = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Mirror::Outputs)),
        1 => Just(Some(Mirror::Inputs))
    ];
    (kernels, gap_bits, kept, mirror).prop_map(|(kernels, gap_bits, kept, mirror)| Sparsity {
        kernels,
        gap_bits,
        kept,
        mirror,
    })
}

pub(crate) fn kinds() -> impl Strategy<Value = WeightKind> {
    prop_oneof![
        Just(WeightKind::Binary),
        Just(WeightKind::Ternary),
        Just(WeightKind::Quinary)
    ]
}

fn layers() -> impl Strategy<Value = Drawn> {
    let groups = prop_oneof![Just(1u32), Just(2), Just(3), Just(4), Just(6)];
    prop_oneof![
        4 => (
            (1u32..40, 1u32..=5, 1u32..=5), (1u32..=4, 0u32..=3, groups), (kinds(), 0u32..8), sparsities(),
        ).prop_map(
            |((out_per_group, height, width), (stride, padding, groups), (kind, shift), sparsity)| Drawn::Conv {
                out_per_group, kernel: (height, width), stride, padding, groups, kind, shift, sparsity,
            }
        ),
        1 => (1u32..=3, 1u32..=3).prop_map(|(kernel, stride)| Drawn::Pool(Pool { kernel, stride })),
    ]
}

/// None when the drawn layers leave no room for the last one.
fn build(
    task: Task,
    drawn: &[Drawn],
    last: (u32, WeightKind, Sparsity),
    seed: u64,
) -> Option<Program> {
    let mut noise = Noise(seed);
    let outputs = 8 * last.0;
    let labels = match task {
        Task::Classify => (0..outputs).map(|label| format!("label {label}")).collect(),
        Task::Compress => Vec::new(),
    };
    let mut builder = ProgramBuilder::new(task, format!("random {seed}"), labels).unwrap();
    for layer in drawn.iter().cloned() {
        // A layer that does not fit is refused and leaves the builder as it was.
        let _refused = match layer {
            Drawn::Pool(pool) => builder.pool(pool).is_err(),
            Drawn::Conv {
                out_per_group,
                kernel,
                stride,
                padding,
                groups,
                kind,
                shift,
                sparsity,
            } => {
                let shift = if builder.map().element == Element::Pixel {
                    shift + 4
                } else {
                    shift
                };
                let spec = ConvSpec {
                    out_channels: out_per_group * groups,
                    kernel_height: kernel.0,
                    kernel_width: kernel.1,
                    stride,
                    padding,
                    groups,
                    weights: kind,
                    output: OutputKind::Codes,
                    shift,
                    bias_bits: 1 + shift,
                };
                sparse_conv(&mut builder, spec, sparsity, &mut noise).is_err()
            }
        };
    }
    let map = builder.map();
    let spec = ConvSpec {
        out_channels: outputs,
        kernel_height: map.height,
        kernel_width: map.width,
        stride: 1,
        padding: 0,
        groups: 1,
        weights: last.1,
        output: task.output(),
        shift: 0,
        bias_bits: 9,
    };
    sparse_conv(&mut builder, spec, last.2, &mut noise).ok()?;
    builder.finish().ok()
}

/// Adds a convolution with random numbers.
pub(crate) fn conv(
    builder: &mut ProgramBuilder,
    spec: ConvSpec,
    noise: &mut Noise,
) -> Result<(), nqe::ProgramError> {
    sparse_conv(builder, spec, Sparsity::NONE, noise)
}

/// Adds a convolution with random numbers and wiring.
pub(crate) fn sparse_conv(
    builder: &mut ProgramBuilder,
    spec: ConvSpec,
    sparsity: Sparsity,
    noise: &mut Noise,
) -> Result<(), nqe::ProgramError> {
    let channels = builder.map().channels / spec.groups.max(1);
    let wiring = sparsity.wiring(&spec, builder.map(), noise);
    let kept = match (&wiring.pruned, wiring.mirror) {
        (Some(pruned), _) => pruned.kept.iter().map(Vec::len).sum(),
        (None, Some(Mirror::Inputs)) => (wiring.kernels(&spec) * channels / 2) as usize,
        (None, _) => (wiring.kernels(&spec) * channels) as usize,
    };
    let area = (spec.kernel_height * spec.kernel_width) as usize;
    let weights = noise.weights(spec.weights, area * kept);
    let biases = noise.biases(spec.bias_bits, wiring.biases(&spec) as usize);
    builder.wired_conv(spec, wiring, weights, biases)
}

/// The file with its digest made right again, so that the body is what is judged.
pub(crate) fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 32;
    let digest = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest);
    bytes
}

/// Programs of one to seven layers, of both tasks, with every kind of weight, group, padding, wiring and pool.
pub(crate) fn programs() -> impl Strategy<Value = Program> {
    let task = prop_oneof![Just(Task::Classify), Just(Task::Compress)];
    let drawn = prop::collection::vec(layers(), 0..6);
    (task, drawn, (1u32..6, kinds(), sparsities()), any::<u64>())
        .prop_filter_map("no room for the last layer", |(task, drawn, last, seed)| {
            build(task, &drawn, last, seed)
        })
}
