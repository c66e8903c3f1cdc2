//! How long a patch and a frame take on one core, by path: `cargo bench -p nqe`.
//!
//! The programs have the shape of the shipped ones and random weights; the work does not depend on the weights.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{hint::black_box, sync::Arc, time::Duration};

use common::{Noise, Sparsity, conv, sparse_conv};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nqe::{
    ConvSpec, Emulator, Kernel, OutputKind, PATCH_BYTES, Pool, Program, ProgramBuilder, Task,
    WeightKind,
};

const SAME: ConvSpec = ConvSpec {
    out_channels: 64,
    kernel_height: 3,
    kernel_width: 3,
    stride: 1,
    padding: 1,
    groups: 1,
    weights: WeightKind::Ternary,
    output: OutputKind::Codes,
    shift: 4,
    bias_bits: 10,
};

fn compressor() -> Program {
    let mut builder = ProgramBuilder::new(Task::Compress, "bench", Vec::new()).unwrap();
    let square = |kernel, stride, padding| ConvSpec {
        kernel_height: kernel,
        kernel_width: kernel,
        stride,
        padding,
        ..SAME
    };
    let noise = &mut Noise(1);
    let binary = WeightKind::Binary;
    conv(
        &mut builder,
        ConvSpec {
            out_channels: 96,
            shift: 9,
            ..square(4, 4, 0)
        },
        noise,
    )
    .unwrap();
    conv(
        &mut builder,
        ConvSpec {
            out_channels: 128,
            ..square(3, 1, 1)
        },
        noise,
    )
    .unwrap();
    conv(
        &mut builder,
        ConvSpec {
            out_channels: 128,
            groups: 2,
            ..square(3, 2, 1)
        },
        noise,
    )
    .unwrap();
    let latent = ConvSpec {
        out_channels: 256,
        weights: binary,
        output: OutputKind::Latent,
        shift: 0,
        ..square(4, 1, 0)
    };
    conv(&mut builder, latent, noise).unwrap();
    builder.finish().unwrap()
}

/// A bank of 700 thresholds on 113 sums, folded by sparse sums.
fn thresholds() -> Program {
    let mut builder = ProgramBuilder::new(Task::Compress, "bench", Vec::new()).unwrap();
    let square = |out_channels, kernel, shift| ConvSpec {
        out_channels,
        kernel_height: kernel,
        kernel_width: kernel,
        padding: 0,
        shift,
        ..SAME
    };
    let noise = &mut Noise(5);
    let first = ConvSpec {
        stride: 8,
        ..square(192, 8, 9)
    };
    conv(&mut builder, first, noise).unwrap();
    let bank = Sparsity {
        kernels: 16,
        ..Sparsity::NONE
    };
    sparse_conv(&mut builder, square(700, 4, 4), bank, noise).unwrap();
    let fold = Sparsity {
        gap_bits: 5,
        kept: 2,
        ..Sparsity::NONE
    };
    let latent = ConvSpec {
        output: OutputKind::Latent,
        ..square(256, 1, 0)
    };
    sparse_conv(&mut builder, latent, fold, noise).unwrap();
    builder.finish().unwrap()
}

fn classifier() -> Program {
    let labels = (0..10).map(|label| label.to_string()).collect();
    let mut builder = ProgramBuilder::new(Task::Classify, "bench", labels).unwrap();
    let pool = Pool {
        kernel: 2,
        stride: 2,
    };
    let noise = &mut Noise(2);
    conv(&mut builder, ConvSpec { shift: 9, ..SAME }, noise).unwrap();
    builder.pool(pool).unwrap();
    conv(
        &mut builder,
        ConvSpec {
            out_channels: 128,
            ..SAME
        },
        noise,
    )
    .unwrap();
    conv(
        &mut builder,
        ConvSpec {
            out_channels: 128,
            groups: 2,
            ..SAME
        },
        noise,
    )
    .unwrap();
    builder.pool(pool).unwrap();
    conv(
        &mut builder,
        ConvSpec {
            out_channels: 192,
            groups: 2,
            ..SAME
        },
        noise,
    )
    .unwrap();
    builder.pool(pool).unwrap();
    let logits = ConvSpec {
        out_channels: 10,
        kernel_height: 4,
        kernel_width: 4,
        padding: 0,
        output: OutputKind::Logits,
        shift: 0,
        ..SAME
    };
    conv(&mut builder, logits, noise).unwrap();
    builder.finish().unwrap()
}

fn patches(criterion: &mut Criterion) {
    let pixels = Noise(3).bytes(PATCH_BYTES);
    for (name, program) in [
        ("compress", compressor()),
        ("compress by thresholds", thresholds()),
        ("classify", classifier()),
    ] {
        let program = Arc::new(program);
        let mut group = criterion.benchmark_group(format!("{name} patch"));
        group.throughput(Throughput::Elements(program.macs()));
        for kernel in Kernel::available() {
            let emulator = Emulator::with_kernel(program.clone(), kernel).unwrap();
            group.bench_function(kernel.name(), |bencher| {
                bencher.iter(|| emulator.run_patch(black_box(&pixels)).unwrap());
            });
        }
        group.finish();
    }
}

fn frames(criterion: &mut Criterion) {
    let (width, height) = (768, 512);
    let rgb = Noise(4).bytes((width * height * 3) as usize);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let mut group = criterion.benchmark_group("frame of 768x512, one thread");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    let compressor = Arc::new(compressor());
    for kernel in Kernel::available() {
        let emulator = Emulator::with_kernel(compressor.clone(), kernel).unwrap();
        group.bench_function(format!("encode, {kernel}"), |bencher| {
            bencher.iter(|| {
                pool.install(|| {
                    emulator
                        .encode_frame(black_box(&rgb), width, height)
                        .unwrap()
                })
            });
        });
    }
    let emulator = Emulator::new(Arc::new(classifier()));
    group.bench_function(format!("classify, {}", emulator.path()), |bencher| {
        bencher.iter(|| {
            pool.install(|| {
                emulator
                    .classify_frame(black_box(&rgb), width, height)
                    .unwrap()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, patches, frames);
criterion_main!(benches);
