//! The ONNX files that `export` writes, by their structure. That they compute what they should is tested where an
//! engine is: `training/tests/test_onnx.py`.

mod common;

#[allow(dead_code, reason = "the attributes' kinds are not looked at")]
#[path = "../src/export/proto.rs"]
mod proto;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nqe::{Op, Program};
use prost::Message;
use proto::tensor_shape_proto::dimension::Value as Extent;
use proto::type_proto::Value::TensorType;
use proto::{GraphProto, ModelProto, ValueInfoProto};

fn read(path: &Path) -> ModelProto {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    ModelProto::decode(&bytes[..]).expect("an ONNX model")
}

fn graph(model: &ModelProto) -> &GraphProto {
    model.graph.as_ref().expect("a graph")
}

fn property<'a>(model: &'a ModelProto, key: &str) -> Option<&'a str> {
    let mut properties = model.metadata_props.iter();
    let property = properties.find(|property| property.key == key);
    property.map(|property| property.value.as_str())
}

/// Element type and dimensions of an input or output.
fn shape(value: &ValueInfoProto) -> (i32, Vec<String>) {
    let kind = value.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let TensorType(tensor) = kind.expect("a tensor");
    let dims = tensor.shape.as_ref().expect("a shape").dim.iter();
    let dims = dims.map(|dim| match dim.value.as_ref().expect("an extent") {
        Extent::DimValue(count) => count.to_string(),
        Extent::DimParam(name) => name.clone(),
    });
    (tensor.elem_type, dims.collect())
}

fn count(graph: &GraphProto, op: &str) -> usize {
    graph.node.iter().filter(|node| node.op_type == op).count()
}

/// Every value is made once and before it is read, every constant has as many bytes as its shape says.
fn is_sound(model: &ModelProto) {
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    assert_eq!(model.producer_name, "patchwire");
    let graph = graph(model);
    let mut known: BTreeSet<&str> = BTreeSet::from([""]);
    let sizes = BTreeMap::from([(1, 4), (2, 1), (3, 1), (6, 4), (7, 8)]);
    for tensor in &graph.initializer {
        let bytes = tensor.dims.iter().product::<i64>() as usize * sizes[&tensor.data_type];
        assert_eq!(tensor.raw_data.len(), bytes, "{}", tensor.name);
        assert!(known.insert(&tensor.name), "{} is made twice", tensor.name);
    }
    known.extend(graph.input.iter().map(|input| input.name.as_str()));
    for node in &graph.node {
        for input in &node.input {
            assert!(known.contains(input.as_str()), "{}: {input}", node.name);
        }
        for output in &node.output {
            assert!(known.insert(output), "{output} is made twice");
        }
    }
    for output in &graph.output {
        assert!(known.contains(output.name.as_str()), "{}", output.name);
    }
}

#[test]
fn the_shipped_models_are_written() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let onnx = folder.path().join("a/b");
    let told = common::succeeds(["export".as_ref(), "--onnx".as_ref(), onnx.as_os_str()]);
    assert_eq!(told.lines().count(), 4, "{told}");

    for (name, bytes, output) in [
        ("classify", patchwire_models::CLASSIFY, (6, "10")),
        ("compress", patchwire_models::COMPRESS, (2, "256")),
    ] {
        let program = Program::from_bytes(bytes).expect("shipped program");
        let model = read(&onnx.join(format!("{name}.onnx")));
        is_sound(&model);
        assert_eq!(
            property(&model, "program"),
            Some(&*program.id().to_string())
        );
        let graph = graph(&model);
        let pixels = ["patches", "3", "32", "32"].map(String::from).to_vec();
        assert_eq!(shape(&graph.input[0]), (2, pixels));
        let (element, count_of) = output;
        let outputs = ["patches", count_of].map(String::from).to_vec();
        assert_eq!(shape(&graph.output[0]), (element, outputs));
        let convs = program.layers().iter();
        let convs = convs
            .filter(|layer| matches!(layer.op, Op::Conv(_)))
            .count();
        let layers = ["Conv", "Gemm", "MatMul"].map(|op| count(graph, op));
        assert_eq!(layers.iter().sum::<usize>(), convs, "{layers:?}");
    }

    for (name, bytes) in [
        ("decoder", patchwire_models::DECODER),
        ("fast", patchwire_models::FAST_DECODER),
    ] {
        is_the_decoder(&read(&onnx.join(name).with_extension("onnx")), bytes);
    }
}

fn is_the_decoder(model: &ModelProto, bytes: &[u8]) {
    is_sound(model);
    let decoder = purenet::Decoder::from_safetensors(bytes);
    let decoder = decoder.expect("shipped decoder");
    let program = nqe::ProgramId::from(decoder.program()).to_string();
    assert_eq!(property(model, "program"), Some(&*program));
    assert_eq!(property(model, "decoder").map(str::len), Some(64));
    let graph = graph(model);
    let latents = ["frames", "256", "rows", "columns"].map(String::from);
    assert_eq!(shape(&graph.input[0]), (1, latents.to_vec()));
    let values: i64 = graph
        .initializer
        .iter()
        .map(|t| t.dims.iter().product::<i64>())
        .sum();
    assert_eq!(values as u64, decoder.parameters(), "all weights are there");
}

#[test]
fn given_files_are_written_by_their_names() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("mine.nqe"), patchwire_models::COMPRESS).expect("file can be written");
    std::fs::write(path("mine.safetensors"), patchwire_models::DECODER)
        .expect("file can be written");
    std::fs::write(path("text.nqe"), "NQE1 and then nothing of sense")
        .expect("file can be written");

    common::succeeds(["export", "--onnx", &path("out"), &path("mine.nqe")]);
    is_sound(&read(Path::new(&path("out/mine.onnx"))));
    assert_eq!(std::fs::read_dir(path("out")).expect("folder").count(), 1);

    let both = [
        "export",
        "--onnx",
        &path("none"),
        &path("mine.nqe"),
        &path("mine.safetensors"),
    ];
    let error = common::fails(both);
    assert!(error.contains("mine.onnx"), "{error}");
    let error = common::fails(["export", "--onnx", &path("none"), &path("text.nqe")]);
    assert!(error.contains("text.nqe"), "{error}");
    assert!(
        !Path::new(&path("none")).exists(),
        "nothing is written after an error"
    );
}

#[test]
fn sums_that_floats_do_not_hold_are_refused() {
    use nqe::{ConvSpec, OutputKind, ProgramBuilder, Task, WeightKind};
    let spec = ConvSpec {
        out_channels: 8,
        kernel_height: 32,
        kernel_width: 32,
        stride: 1,
        padding: 0,
        groups: 1,
        weights: WeightKind::Ternary,
        output: OutputKind::Latent,
        shift: 0,
        bias_bits: 25,
    };
    let mut builder = ProgramBuilder::new(Task::Compress, "large", Vec::new()).expect("builder");
    let weights = vec![1; 8 * 32 * 32 * 3];
    builder
        .conv(spec, weights, vec![-(1 << 23); 8])
        .expect("layer");
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("large.nqe");
    let bytes = builder.finish().expect("program").to_bytes();
    std::fs::write(&path, bytes).expect("file can be written");
    let out = folder.path().join("out");
    let arguments = [
        "export".as_ref(),
        "--onnx".as_ref(),
        out.as_os_str(),
        path.as_os_str(),
    ];
    let error = common::fails(arguments);
    // 2^23 and 3072 pixels of 255.
    assert!(error.contains("layer1 may sum up to 9171967"), "{error}");
}
