//! A program as a QDQ int8 model whose results are the chip's bit for bit.
//!
//! The chip's `clamp(acc >> shift, 0, 3)` is QuantizeLinear with a scale of 2^shift, then Clip. QuantizeLinear rounds
//! to the nearest: the bias is lowered by 2^(shift - 1) - 1/2, which turns that into rounding down and leaves no ties.
//! A latent bit, `acc >= 0`, is the sign of acc + 1/2. So that the int32 biases can hold halves, weights are doubled
//! and their scale is 1/2: -4 to 4 in int8. All sums are whole halves, exact in the floats that the model speaks of.
//!
//! - A convolution whose kernels see the whole map is a matrix product: engines run many patches as one.
//! - There, kernels that channels share stay shared, and thresholds follow by Gather and Add: the engine has no more
//!   sums
//!   than the chip. Elsewhere each channel has a copy.
//! - Pruned kernels are dense zeros: ONNX has no others.
//! - Codes are cut to 3 where a convolution reads them: pooling before it gives the same and leaves less to cut.

use anyhow::{Result, ensure};
use nqe::{Conv, Dense, Element, Map, Op, OutputKind, Pool, Program, Task};

use super::graph::{Builder, Value, fixed, free, int, ints};
use super::proto::ModelProto;

/// Integers up to this number, and halves up to half of it, are exact in f32.
const EXACT: i64 = 1 << 24;
/// `TensorProto.DataType` of Cast.
const INT32: i64 = 6;
/// The name of the number of patches.
const PATCHES: &str = "patches";

/// The model of a program. Input `pixels` [patches, 3, 32, 32] u8; output `bits` [patches, bits] u8, 0 or 1, or
/// `logits` [patches, labels] i32.
///
/// # Errors
/// If a layer's sums may be too large to be exact.
pub(super) fn model(program: &Program) -> Result<ModelProto> {
    let mut graph = Builder::new(&program.task().to_string());
    let input = Map::INPUT;
    let shape = [input.channels, input.height, input.width].map(|n| fixed(n as usize));
    let mut map = graph.input::<u8>("pixels", &[&[free(PATCHES)], &shape[..]].concat());
    let mut encoder = Encoder {
        half: graph.constant("half", &[], &[0.5f32]),
        one: graph.constant("one", &[], &[1.0f32]),
        zero: graph.constant("zero", &[], &[0u8]),
        graph,
        flat: false,
    };
    for (i, layer) in program.layers().iter().enumerate() {
        let name = format!("layer{}", i + 1);
        map = match &layer.op {
            Op::Pool(pool) => encoder.pool(&name, pool, layer.input, map),
            Op::Conv(conv) => encoder.conv(&name, conv, layer.input, map)?,
        };
    }
    let mut graph = encoder.graph;
    // The order of latent bits: position by position.
    if !encoder.flat {
        let order = ints("perm", &[0, 2, 3, 1]);
        map = graph.node("Transpose", "positions", &[&map], vec![order]);
    }
    let name = match program.task() {
        Task::Compress => "bits",
        Task::Classify => "logits",
    };
    graph.node("Flatten", name, &[&map], vec![int("axis", 1)]);
    let shape = [free(PATCHES), fixed(program.output().count() as usize)];
    match program.task() {
        Task::Compress => graph.output::<u8>(name, &shape),
        Task::Classify => graph.output::<i32>(name, &shape),
    }
    let mut properties = vec![("program", program.id().to_string())];
    if program.task() == Task::Classify {
        properties.push(("labels", serde_json::to_string(program.labels())?));
        properties.push(("score_shift", program.score_shift().to_string()));
    }
    Ok(graph.finish(&properties))
}

/// The graph so far.
struct Encoder {
    graph: Builder,
    half: Value,
    one: Value,
    zero: Value,
    /// Whether maps are [patches, values] and not [patches, channels, rows, columns].
    flat: bool,
}

impl Encoder {
    fn pool(&mut self, name: &str, pool: &Pool, input: Map, map: Value) -> Value {
        let map = self.spread(name, input, map);
        let side = |side: u32| [side as usize; 2];
        let attributes = vec![
            ints("kernel_shape", &side(pool.kernel)),
            ints("strides", &side(pool.stride)),
        ];
        self.graph.node("MaxPool", name, &[&map], attributes)
    }

    fn conv(&mut self, name: &str, conv: &Conv, input: Map, mut map: Value) -> Result<Value> {
        let (spec, dense) = (&conv.spec, conv.dense(input));
        let biases = biases(name, conv, &dense, input)?;
        if input.element == Element::Code {
            map = self.cut(&format!("{name}.codes"), &map, 3);
        }
        let whole = spec.groups == 1
            && spec.padding == 0
            && (spec.kernel_height, spec.kernel_width) == (input.height, input.width);
        map = if whole {
            self.product(name, conv, &dense, biases, input, map)
        } else {
            self.convolution(name, conv, &dense, biases, input, map)
        };
        if spec.output == OutputKind::Logits {
            let name = format!("{name}.logits");
            return Ok(self
                .graph
                .node("Cast", &name, &[&map], vec![int("to", INT32)]));
        }
        let scale = if spec.output == OutputKind::Codes {
            let scale = (spec.shift as f32).exp2();
            self.graph.constant(&format!("{name}.step"), &[], &[scale])
        } else {
            self.half.clone()
        };
        let inputs = [&*map, &scale, &self.zero];
        map = self.graph.node(
            "QuantizeLinear",
            &format!("{name}.quantized"),
            &inputs,
            Vec::new(),
        );
        if spec.output == OutputKind::Latent {
            map = self.cut(&format!("{name}.bits"), &map, 1);
        }
        Ok(map)
    }

    /// A convolution as it is.
    fn convolution(
        &mut self,
        name: &str,
        conv: &Conv,
        dense: &Dense,
        biases: Vec<i32>,
        input: Map,
        map: Value,
    ) -> Value {
        let spec = &conv.spec;
        let map = self.spread(name, input, map);
        let map = self.real(&format!("{name}.input"), &map);
        let channels = (input.channels / spec.groups) as usize;
        let (height, width) = (spec.kernel_height as usize, spec.kernel_width as usize);
        let kernels = channels_first(&dense.weights, height * width, channels);
        let size = height * width * channels;
        let weights: Vec<i8> = dense
            .kernel_of
            .iter()
            .flat_map(|&kernel| &kernels[usize::from(kernel) * size..][..size])
            .copied()
            .collect();
        let dims = [dense.kernel_of.len(), channels, height, width];
        let weights = self.constant(&format!("{name}.weights"), &dims, &weights);
        let biases = self.constant(&format!("{name}.biases"), &dims[..1], &biases);
        let attributes = vec![
            ints("kernel_shape", &dims[2..]),
            ints("strides", &[spec.stride as usize; 2]),
            ints("pads", &[spec.padding as usize; 4]),
            int("group", spec.groups.into()),
        ];
        self.graph
            .node("Conv", name, &[&map, &weights, &biases], attributes)
    }

    /// A convolution whose kernels see the whole map.
    fn product(
        &mut self,
        name: &str,
        conv: &Conv,
        dense: &Dense,
        biases: Vec<i32>,
        input: Map,
        mut map: Value,
    ) -> Value {
        if !self.flat {
            let name = format!("{name}.flat");
            map = self
                .graph
                .node("Flatten", &name, &[&map], vec![int("axis", 1)]);
            self.flat = true;
        }
        map = self.real(&format!("{name}.input"), &map);
        let area = (conv.spec.kernel_height * conv.spec.kernel_width) as usize;
        let weights = channels_first(&dense.weights, area, input.channels as usize);
        let inputs = input.count() as usize;
        let kernels = weights.len() / inputs;
        let outputs = dense.kernel_of.len();
        if kernels == outputs {
            let weights = self.constant(&format!("{name}.weights"), &[outputs, inputs], &weights);
            let biases = self.constant(&format!("{name}.biases"), &[outputs], &biases);
            let attributes = vec![int("transB", 1)];
            return self
                .graph
                .node("Gemm", name, &[&map, &weights, &biases], attributes);
        }
        let weights: Vec<i8> = (0..inputs)
            .flat_map(|i| weights.iter().skip(i).step_by(inputs).copied())
            .collect();
        let weights = self.constant(&format!("{name}.weights"), &[inputs, kernels], &weights);
        let sums = format!("{name}.sums");
        let sums = self
            .graph
            .node("MatMul", &sums, &[&map, &weights], Vec::new());
        let indices: Vec<i64> = dense
            .kernel_of
            .iter()
            .map(|&kernel| kernel.into())
            .collect();
        let indices = self
            .graph
            .constant(&format!("{name}.kernels"), &[outputs], &indices);
        let shared = format!("{name}.shared");
        let shared = self
            .graph
            .node("Gather", &shared, &[&sums, &indices], vec![int("axis", 1)]);
        let halves: Vec<f32> = biases.iter().map(|&bias| bias as f32 / 2.0).collect();
        let biases = self
            .graph
            .constant(&format!("{name}.biases"), &[outputs], &halves);
        self.graph
            .node("Add", name, &[&shared, &biases], Vec::new())
    }

    /// A map with rows and columns again, where it was flat: one position.
    fn spread(&mut self, name: &str, input: Map, map: Value) -> Value {
        if !std::mem::take(&mut self.flat) {
            return map;
        }
        let shape = [-1, i64::from(input.channels), 1, 1];
        let shape = self.graph.constant(&format!("{name}.shape"), &[4], &shape);
        self.graph.node(
            "Reshape",
            &format!("{name}.map"),
            &[&map, &shape],
            Vec::new(),
        )
    }

    /// u8 values cut to `most`.
    fn cut(&mut self, name: &str, map: &str, most: u8) -> Value {
        let most = self.graph.constant(&format!("{name}.most"), &[], &[most]);
        self.graph.node("Clip", name, &[map, "", &most], Vec::new())
    }

    /// u8 values as they are, as numbers.
    fn real(&mut self, name: &str, map: &str) -> Value {
        let inputs = [map, &self.one, &self.zero];
        self.graph
            .node("DequantizeLinear", name, &inputs, Vec::new())
    }

    /// Halves of these whole numbers.
    fn constant<T: super::graph::Element>(
        &mut self,
        name: &str,
        dims: &[usize],
        values: &[T],
    ) -> Value {
        let doubled = self
            .graph
            .constant(&format!("{name}.doubled"), dims, values);
        self.graph.node(
            "DequantizeLinear",
            name,
            &[&doubled, &self.half],
            Vec::new(),
        )
    }
}

/// Doubled weights with channels before rows and columns.
fn channels_first(weights: &[i8], area: usize, channels: usize) -> Vec<i8> {
    weights
        .chunks(area * channels)
        .flat_map(|kernel| {
            (0..channels).flat_map(move |channel| kernel.iter().skip(channel).step_by(channels))
        })
        .map(|&weight| 2 * weight)
        .collect()
}

/// Twice the biases that make rounding and signs the chip's.
fn biases(name: &str, conv: &Conv, dense: &Dense, input: Map) -> Result<Vec<i32>> {
    let spec = &conv.spec;
    let added = match spec.output {
        OutputKind::Codes => 1 - (1i64 << spec.shift),
        OutputKind::Latent => 1,
        OutputKind::Logits => 0,
    };
    let most_in = if input.element == Element::Pixel {
        255
    } else {
        3
    };
    let size = (spec.kernel_height * spec.kernel_width * (input.channels / spec.groups)) as usize;
    let most: Vec<i64> = dense
        .weights
        .chunks(size)
        .map(|kernel| most_in * kernel.iter().map(|&w| i64::from(w).abs()).sum::<i64>())
        .collect();
    let biases = dense.biases.iter().zip(&dense.kernel_of);
    let biases = biases.map(|(&bias, &kernel)| {
        let doubled = 2 * i64::from(bias) + added;
        let worst = doubled.abs() + 2 * most[usize::from(kernel)];
        ensure!(
            worst <= EXACT,
            "{name} may sum up to {} and ONNX's floats are exact up to {} there",
            worst / 2,
            EXACT / 2
        );
        Ok(doubled as i32)
    });
    biases.collect()
}
