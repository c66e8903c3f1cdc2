//! `inspect` on the shipped models, on files, and on a running edge node.

mod common;
mod services;

use nqe::{
    ConvSpec, OutputKind, Program, ProgramBuilder, Pruned, Shared, Task, WeightKind, Wiring,
};

#[test]
fn the_shipped_models_are_shown() {
    let shown = common::succeeds(["inspect"]);
    for bytes in [patchwire_models::CLASSIFY, patchwire_models::COMPRESS] {
        let program = Program::from_bytes(bytes).expect("shipped program");
        assert!(shown.contains(&program.id().to_string()), "{shown}");
    }
    assert!(shown.contains("1,048,576 bits"), "{shown}");
    assert!(shown.contains(", mirrored"), "{shown}");
    assert!(
        shown.contains("256 bits a 32x32 patch, 0.25 bpp"),
        "{shown}"
    );
    assert!(shown.contains("airplane, automobile, bird"), "{shown}");
    for bytes in [patchwire_models::DECODER, patchwire_models::FAST_DECODER] {
        let decoder = purenet::Decoder::from_safetensors(bytes).expect("shipped decoder");
        let id = nqe::ProgramId::from(decoder.id()).to_string();
        let (_, rest) = shown.split_once(&id).expect("its id");
        let model = purenet::Model::from_safetensors(bytes).expect("shipped decoder");
        let hidden = model.layout().first().hidden;
        let units = rest.lines().find(|line| line.starts_with("hidden"));
        let units = units.expect("hidden units").replace(',', "");
        assert!(units.contains(&format!(" {hidden} units")), "{shown}");
        let weights = rest.lines().find(|line| line.starts_with("weights"));
        let weights = weights.expect("weights").replace(',', "");
        let counts: Vec<u64> = weights
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        // The two counts, each with its bits; parameters are weights and biases.
        let [patches, 16, frames, 7] = counts[..] else {
            panic!("{weights}");
        };
        let parameters = decoder.parameters();
        let shares = (patches + frames) as f64 / parameters as f64;
        assert!((0.98..1.0).contains(&shares), "{weights} of {parameters}");
    }
    assert!(
        shown.contains("256 bits a 32x32 patch, or the first 64, 128, 192"),
        "{shown}"
    );
    assert!(shown.contains("multiply-accumulates a pixel"), "{shown}");
    let prior = latent::prior::Prior::from_bytes(patchwire_models::PRIOR).expect("shipped prior");
    assert!(shown.contains(&prior.id().to_string()), "{shown}");
}

#[test]
fn the_edge_sheds_to_rates_that_the_shipped_decoders_take() {
    for bytes in [patchwire_models::DECODER, patchwire_models::FAST_DECODER] {
        let decoder = purenet::Decoder::from_safetensors(bytes).expect("shipped decoder");
        let (last, lower) = decoder.rates().split_last().expect("a rate");
        assert_eq!((lower, *last), (&patchwire_models::PREFIXES[..], 256));
    }
}

#[test]
fn a_file_is_shown_layer_by_layer() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("mine.nqe");
    std::fs::write(&path, patchwire_models::COMPRESS).expect("file can be written");
    let shown = common::succeeds(["inspect".as_ref(), path.as_os_str()]);
    let program = Program::from_bytes(patchwire_models::COMPRESS).expect("shipped program");
    let rows = shown.lines().filter(|line| line.contains("conv ")).count();
    let pools = shown
        .lines()
        .filter(|line| line.contains("max pool"))
        .count();
    assert_eq!(rows + pools, program.layers().len(), "{shown}");

    std::fs::write(&path, b"NQE1 and then nothing of sense").expect("file can be written");
    let error = common::fails(["inspect".as_ref(), path.as_os_str()]);
    assert!(error.contains("mine.nqe"), "{error}");
    std::fs::write(&path, b"something else").expect("file can be written");
    common::fails(["inspect".as_ref(), path.as_os_str()]);
}

#[test]
fn what_a_layer_shares_and_prunes_is_shown() {
    let spec = ConvSpec {
        out_channels: 16,
        kernel_height: 32,
        kernel_width: 32,
        stride: 1,
        padding: 0,
        groups: 1,
        weights: WeightKind::Ternary,
        output: OutputKind::Latent,
        shift: 0,
        bias_bits: 8,
    };
    let wiring = Wiring {
        shared: Some(Shared {
            kernels: 2,
            kernel_of: [0, 1].repeat(8),
        }),
        pruned: Some(Pruned {
            gap_bits: 1,
            kept: vec![vec![0], vec![]],
        }),
        mirror: None,
    };
    let mut builder = ProgramBuilder::new(Task::Compress, "wired", Vec::new()).expect("builder");
    builder
        .wired_conv(spec, wiring, vec![1; 32 * 32], vec![0; 16])
        .expect("layer");
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("wired.nqe");
    let bytes = builder.finish().expect("program").to_bytes();
    std::fs::write(&path, bytes).expect("file can be written");
    let shown = common::succeeds(["inspect".as_ref(), path.as_os_str()]);
    for fact in ["2 kernels for 16 channels", "pruned to 16.7 %"] {
        assert!(shown.contains(fact), "{fact}: {shown}");
    }
    // 16 indices of 1 bit and 2 masks of 3 bits.
    let wiring = shown.lines().find(|line| line.contains("◊ wiring"));
    assert!(wiring.is_some_and(|line| line.contains(" 22 ")), "{shown}");
}

#[tokio::test]
async fn what_an_edge_node_has_loaded_is_shown() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let edge = services::Service::edge(&folder.path().join("spool.sqlite"), "127.0.0.1:9").await;
    let url = format!("http://{}", edge.http);
    let shown = tokio::task::spawn_blocking(move || common::succeeds(["inspect", "--edge", &url]));
    let shown = shown.await.expect("it ends");
    for bytes in [patchwire_models::CLASSIFY, patchwire_models::COMPRESS] {
        let program = Program::from_bytes(bytes).expect("shipped program");
        assert!(shown.contains(&program.id().to_string()), "{shown}");
    }
    assert!(shown.contains("feature maps"), "{shown}");
    assert!(shown.contains("all others"), "{shown}");

    let error = common::fails(["inspect", "--edge", "127.0.0.1:9"]);
    assert!(error.contains("127.0.0.1:9 is not"), "{error}");
    let error = common::fails(["inspect", "--edge", "http://127.0.0.1:9"]);
    assert!(error.contains("did not answer"), "{error}");
}
