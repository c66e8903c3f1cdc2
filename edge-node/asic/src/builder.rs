//! Builds programs layer by layer; the one place where their rules are checked, for makers and the loader alike.

use crate::{
    BUDGET_BITS, Conv, ConvSpec, Element, Field, Layer, LayerMemory, Map, Op, OutputKind, Pool,
    Program, ProgramError, ProgramId, Task, format,
};

pub(crate) const MAX_LAYERS: usize = 64;

/// Makes a [`Program`], refusing every layer that does not fit as it is added. After an error the builder is as it was.
///
/// # Errors
/// Every method returns [`ProgramError`] for what the format does not allow.
#[derive(Clone, Debug)]
pub struct ProgramBuilder {
    task: Task,
    name: String,
    labels: Vec<String>,
    layers: Vec<Layer>,
    stored_bits: u64,
    map_bits: u64,
}

impl ProgramBuilder {
    /// An empty program: `name` is at most 64 bytes, `labels` are the classes (none for compression).
    pub fn new(
        task: Task,
        name: impl Into<String>,
        labels: Vec<String>,
    ) -> Result<Self, ProgramError> {
        let name = name.into();
        header("name", name.len(), name.len() <= 64, "0 to 64 bytes")?;
        header(
            "labels",
            labels.len(),
            labels.len() <= 0xffff,
            "0 to 65535 labels",
        )?;
        for label in &labels {
            header("label", label.len(), label.len() <= 255, "0 to 255 bytes")?;
        }
        if task == Task::Compress {
            header(
                "labels",
                labels.len(),
                labels.is_empty(),
                "0 for compression",
            )?;
        }
        Ok(Self {
            task,
            name,
            labels,
            layers: Vec::new(),
            stored_bits: 0,
            map_bits: 0,
        })
    }

    /// The map that the next layer reads.
    pub fn map(&self) -> Map {
        self.layers.last().map_or(Map::INPUT, |layer| layer.output)
    }

    /// Adds a convolution: `weights` in the order of [`Conv::weights`], one bias an output channel.
    pub fn conv(
        &mut self,
        spec: ConvSpec,
        weights: Vec<i8>,
        biases: Vec<i32>,
    ) -> Result<(), ProgramError> {
        let (layer, input) = (self.layers.len(), self.map());
        let output = self.conv_output(&spec)?;
        let count = weight_count(&spec, input);
        value(
            layer,
            "weights",
            weights.len(),
            weights.len() == count,
            || format!("{count} weights"),
        )?;
        let count = spec.out_channels as usize;
        value(layer, "biases", biases.len(), biases.len() == count, || {
            format!("{count} biases")
        })?;
        let levels = spec.weights.levels();
        if let Some(index) = weights.iter().position(|weight| !levels.contains(weight)) {
            return Err(ProgramError::Weight {
                layer,
                index,
                found: weights[index].into(),
                kind: spec.weights,
            });
        }
        let reach = 1i64 << (spec.bias_bits - 1);
        for &bias in &biases {
            value(
                layer,
                "bias",
                bias,
                (-reach..reach).contains(&bias.into()),
                || format!("{} to {} in {} bits", -reach, reach - 1, spec.bias_bits),
            )?;
        }
        let conv = Conv {
            spec,
            weights,
            biases,
        };
        check_accumulators(layer, &conv, input)?;
        self.push(Layer {
            op: Op::Conv(conv),
            input,
            output,
        })
    }

    /// Adds a max pooling.
    pub fn pool(&mut self, pool: Pool) -> Result<(), ProgramError> {
        let layer = self.next_layer()?;
        let input = self.map();
        value(
            layer,
            "kernel",
            pool.kernel,
            (1..=32).contains(&pool.kernel),
            || "1 to 32".into(),
        )?;
        value(
            layer,
            "stride",
            pool.stride,
            (1..=32).contains(&pool.stride),
            || "1 to 32".into(),
        )?;
        let side = input.height.min(input.width);
        value(layer, "kernel", pool.kernel, pool.kernel <= side, || {
            format!("up to the input's side, {side}")
        })?;
        let height = (input.height - pool.kernel) / pool.stride + 1;
        let width = (input.width - pool.kernel) / pool.stride + 1;
        self.push(Layer {
            op: Op::Pool(pool),
            input,
            output: Map {
                height,
                width,
                ..input
            },
        })
    }

    /// The program, once its last layer does its task.
    pub fn finish(self) -> Result<Program, ProgramError> {
        header(
            "layers",
            self.layers.len(),
            !self.layers.is_empty(),
            "1 to 64 layers",
        )?;
        let (layer, output) = (self.layers.len() - 1, self.map());
        let found = match output.element {
            Element::Latent => OutputKind::Latent,
            Element::Logit => OutputKind::Logits,
            Element::Pixel | Element::Code => OutputKind::Codes,
        };
        if found != self.task.output() {
            return Err(ProgramError::LastLayer {
                layer,
                found,
                task: self.task,
            });
        }
        match self.task {
            Task::Compress => {
                let bits = output.count();
                let fits = bits % 8 == 0 && (8..=4096).contains(&bits);
                value(layer, "latent bits", bits as i64, fits, || {
                    "8 to 4096, a multiple of 8".into()
                })?;
            }
            Task::Classify => {
                let side = output.height.max(output.width);
                value(layer, "output side", side, side == 1, || {
                    "1 for logits".into()
                })?;
                let labels = self.labels.len();
                let allowed = || format!("{labels}, the number of labels");
                value(
                    layer,
                    "logits",
                    output.channels,
                    output.channels as usize == labels,
                    allowed,
                )?;
            }
        }
        let Self {
            task,
            name,
            labels,
            layers,
            ..
        } = self;
        let mut program = Program {
            task,
            name,
            labels,
            layers,
            id: ProgramId::from([0; 32]),
        };
        program.id = ProgramId::of(&format::content(&program));
        Ok(program)
    }

    /// Checks a convolution's shape against the map it would read, and gives the map it would write.
    pub(crate) fn conv_output(&self, spec: &ConvSpec) -> Result<Map, ProgramError> {
        let layer = self.next_layer()?;
        let input = self.map();
        let ranges = [
            ("out_channels", spec.out_channels, 1, 1024),
            ("kernel height", spec.kernel_height, 1, 32),
            ("kernel width", spec.kernel_width, 1, 32),
            ("stride", spec.stride, 1, 32),
            ("padding", spec.padding, 0, 16),
            ("groups", spec.groups, 1, 1024),
            (
                "shift",
                spec.shift,
                0,
                if spec.output == OutputKind::Codes {
                    31
                } else {
                    0
                },
            ),
            ("bias_bits", spec.bias_bits, 1, 32),
        ];
        for (name, found, low, high) in ranges {
            value(layer, name, found, (low..=high).contains(&found), || {
                format!("{low} to {high}")
            })?;
        }
        let divides = input.channels % spec.groups == 0 && spec.out_channels % spec.groups == 0;
        value(layer, "groups", spec.groups, divides, || {
            format!(
                "divisors of {} input and {} output channels",
                input.channels, spec.out_channels
            )
        })?;
        let height = input.height + 2 * spec.padding;
        let width = input.width + 2 * spec.padding;
        let allowed = |side| move || format!("up to the padded input's side, {side}");
        value(
            layer,
            "kernel height",
            spec.kernel_height,
            spec.kernel_height <= height,
            allowed(height),
        )?;
        value(
            layer,
            "kernel width",
            spec.kernel_width,
            spec.kernel_width <= width,
            allowed(width),
        )?;
        Ok(Map {
            height: (height - spec.kernel_height) / spec.stride + 1,
            width: (width - spec.kernel_width) / spec.stride + 1,
            channels: spec.out_channels,
            element: match spec.output {
                OutputKind::Codes => Element::Code,
                OutputKind::Latent => Element::Latent,
                OutputKind::Logits => Element::Logit,
            },
        })
    }

    /// The number of the layer to add, if there may be another.
    fn next_layer(&self) -> Result<usize, ProgramError> {
        let layer = self.layers.len();
        header("layers", layer + 1, layer < MAX_LAYERS, "1 to 64 layers")?;
        match self.map().element {
            Element::Latent => Err(ProgramError::NotLast {
                layer: layer - 1,
                found: OutputKind::Latent,
            }),
            Element::Logit => Err(ProgramError::NotLast {
                layer: layer - 1,
                found: OutputKind::Logits,
            }),
            Element::Pixel | Element::Code => Ok(layer),
        }
    }

    fn push(&mut self, layer: Layer) -> Result<(), ProgramError> {
        let memory = LayerMemory::of(&layer);
        let stored_bits = self.stored_bits + memory.stored();
        let map_bits = self.map_bits.max(memory.maps());
        let bits = stored_bits + map_bits;
        if bits > BUDGET_BITS {
            return Err(ProgramError::Budget {
                layer: self.layers.len(),
                bits,
            });
        }
        (self.stored_bits, self.map_bits) = (stored_bits, map_bits);
        self.layers.push(layer);
        Ok(())
    }
}

/// Weights of a checked convolution that reads `input`; at most 2^30.
pub(crate) fn weight_count(spec: &ConvSpec, input: Map) -> usize {
    (spec.out_channels * spec.kernel_height * spec.kernel_width * (input.channels / spec.groups))
        as usize
}

/// Any partial sum, in any order, lies between the bias plus all negative and the bias plus all positive products.
fn check_accumulators(layer: usize, conv: &Conv, input: Map) -> Result<(), ProgramError> {
    let largest = if input.element == Element::Pixel {
        255
    } else {
        3
    };
    let per_channel = conv
        .weights
        .chunks_exact(conv.weights.len() / conv.biases.len());
    for (channel, (&bias, weights)) in conv.biases.iter().zip(per_channel).enumerate() {
        let sum = |sign: i64| {
            weights
                .iter()
                .map(|&w| i64::from(w))
                .filter(|w| w * sign > 0)
                .sum::<i64>()
        };
        let (low, high) = (
            i64::from(bias) + sum(-1) * largest,
            i64::from(bias) + sum(1) * largest,
        );
        if low < i64::from(i32::MIN) || high > i64::from(i32::MAX) {
            return Err(ProgramError::Accumulator {
                layer,
                channel,
                low,
                high,
            });
        }
    }
    Ok(())
}

fn header(name: &'static str, found: usize, fits: bool, allowed: &str) -> Result<(), ProgramError> {
    let refused = || ProgramError::Value {
        field: Field { layer: None, name },
        found: found as i64,
        allowed: allowed.to_owned(),
    };
    if fits { Ok(()) } else { Err(refused()) }
}

fn value(
    layer: usize,
    name: &'static str,
    found: impl TryInto<i64>,
    fits: bool,
    allowed: impl FnOnce() -> String,
) -> Result<(), ProgramError> {
    if fits {
        return Ok(());
    }
    let found = found.try_into().unwrap_or(i64::MAX);
    Err(ProgramError::Value {
        field: Field {
            layer: Some(layer),
            name,
        },
        found,
        allowed: allowed(),
    })
}
