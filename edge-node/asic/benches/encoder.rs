//! How long the shipped programs take for a patch and for a frame on one core, by path: `cargo bench -p nqe`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::{hint::black_box, sync::Arc, time::Duration};

use common::Noise;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nqe::{Emulator, Kernel, PATCH_BYTES, Program};

fn program(bytes: &[u8]) -> Arc<Program> {
    Arc::new(Program::from_bytes(bytes).unwrap())
}

fn patches(criterion: &mut Criterion) {
    let pixels = Noise(3).bytes(PATCH_BYTES);
    for bytes in [patchwire_models::COMPRESS, patchwire_models::CLASSIFY] {
        let program = program(bytes);
        let mut group = criterion.benchmark_group(format!("a patch alone, {}", program.task()));
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
    let (width, height) = (768u32, 512u32);
    let rgb = Noise(4).bytes((width * height * 3) as usize);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.unwrap();
    let mut group = criterion.benchmark_group("frame of 768x512, one thread");
    group.sample_size(10);
    group.measurement_time(Duration::from_secs(3));
    let compressor = program(patchwire_models::COMPRESS);
    group.throughput(Throughput::Elements(compressor.macs() * 24 * 16));
    for kernel in Kernel::available() {
        let emulator = Emulator::with_kernel(compressor.clone(), kernel).unwrap();
        let encode = || {
            emulator
                .encode_frame(black_box(&rgb), width, height)
                .unwrap()
        };
        group.bench_function(format!("encode, {kernel}"), |bencher| {
            bencher.iter(|| pool.install(encode));
        });
    }
    let emulator = Emulator::new(program(patchwire_models::CLASSIFY));
    let classify = || {
        emulator
            .classify_frame(black_box(&rgb), width, height)
            .unwrap()
    };
    group.throughput(Throughput::Elements(emulator.program().macs()));
    group.bench_function(format!("classify, {}", emulator.path()), |bencher| {
        bencher.iter(|| pool.install(classify));
    });
    group.finish();
}

criterion_group!(benches, patches, frames);
criterion_main!(benches);
