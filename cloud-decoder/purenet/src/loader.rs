//! From the bytes of a safetensors file to packed stages.

use crate::conv::Conv;
use crate::engine::{Convolution, Engine};
use crate::layout::{Layout, Shape, StageLayout};
use crate::linear::Linear;
use crate::{MAX_WEIGHTS, ModelError, PATCH};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;

const FORMAT: &str = "patchwire-decoder-1";

/// A loaded network.
pub(crate) struct Network<E: Engine> {
    pub(crate) program: [u8; 32],
    pub(crate) bits: usize,
    /// Bits a patch that can be decoded, increasing; the last is `bits`.
    pub(crate) rates: Vec<u32>,
    /// Layer of the first stage before its last one, if it has one.
    pub(crate) hidden: Option<E::Linear>,
    /// Its units.
    pub(crate) units: usize,
    pub(crate) first: E::Linear,
    pub(crate) stages: Vec<Stage<E::Conv>>,
    /// Output shape of the first stage, then of each of `stages`.
    pub(crate) shapes: Vec<Shape>,
    /// What makes the frame's pixels of the last shape, if they are not that shape's values.
    pub(crate) tail: Option<Tail<E::Conv>>,
    /// Factor of the skip connection from the first stage to the frame.
    pub(crate) base: Option<usize>,
    pub(crate) parameters: u64,
    pub(crate) macs_per_patch: u64,
}

/// A stage after the first.
pub(crate) enum Stage<C> {
    Conv {
        layer: C,
        relu: bool,
    },
    Residual {
        first: C,
        second: C,
    },
    PixelShuffle {
        factor: usize,
        /// Whether channels come in the order of [`by_position`].
        sorted: bool,
    },
    /// `factor` pixels of the frame along the side of a position.
    Join {
        layer: C,
        factor: usize,
    },
}

/// The last convolution. What a pixel shuffle after it would spread is read where it is.
pub(crate) struct Tail<C> {
    pub(crate) layer: C,
    pub(crate) relu: bool,
    /// Pixels along the side of a position, in the order of [`by_position`].
    pub(crate) pixels: usize,
}

/// A safetensors file whose metadata is read.
pub(crate) struct File<'a> {
    pub(crate) program: [u8; 32],
    pub(crate) layout: Layout,
    pub(crate) tensors: HashMap<String, TensorView<'a>>,
}

/// Reads tensors and keeps account of them.
struct Loader<'a> {
    tensors: HashMap<String, TensorView<'a>>,
    packed: usize,
    parameters: u64,
    macs_per_patch: u64,
}

impl<'a> File<'a> {
    /// Reads the metadata; the network and its tensors are not checked yet.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().as_ref();
        let entry = |key| {
            let value = metadata.and_then(|entries| entries.get(key));
            value.ok_or(ModelError::MetadataMissing { key })
        };
        let format = entry("format")?;
        if format != FORMAT {
            return Err(ModelError::Format {
                found: format.chars().take(64).collect(),
            });
        }
        let program = parse_id(entry("program")?).ok_or(ModelError::Program)?;
        let layout = serde_json::from_str(entry("stages")?).map_err(ModelError::Stages)?;
        let tensors = SafeTensors::deserialize(bytes)?
            .tensors()
            .into_iter()
            .collect();
        Ok(Self {
            program,
            layout,
            tensors,
        })
    }
}

impl<E: Engine> Network<E> {
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        let File {
            program,
            layout,
            tensors,
        } = File::open(bytes)?;
        let mut shapes = layout.shapes()?;
        let mut loader = Loader {
            tensors,
            packed: 0,
            parameters: 0,
            macs_per_patch: 0,
        };
        let (mut hidden, mut first, mut units) = (None, None, 0);
        let (mut bits, mut rates) = (0, Vec::new());
        let mut stages = Vec::new();
        for (index, (stage, &shape)) in layout.stages.iter().zip(&shapes).enumerate() {
            let label = stage.label(index);
            match stage {
                StageLayout::PatchLinear {
                    name,
                    bits: inputs,
                    prefixes,
                    hidden: hidden_units,
                    ..
                } => {
                    bits = *inputs;
                    rates = prefixes.iter().chain([inputs]).map(|&n| n as u32).collect();
                    if let Some(count) = *hidden_units {
                        units = count;
                        let name = format!("{name}.hidden");
                        hidden = Some(loader.linear::<E>(&label, &name, units, bits)?);
                    }
                    let inputs = hidden_units.unwrap_or(bits);
                    first = Some(loader.linear::<E>(&label, name, shape.values(), inputs)?);
                }
                StageLayout::Conv {
                    name,
                    input,
                    output,
                    kernel,
                    relu,
                } => {
                    let sizes = (*output, *input, *kernel);
                    let shuffled = match layout.stages.get(index + 1) {
                        Some(StageLayout::PixelShuffle { factor }) => *factor,
                        _ => 1,
                    };
                    let layer = loader.conv::<E>(&label, name, sizes, shape.side, shuffled)?;
                    stages.push(Stage::Conv { layer, relu: *relu });
                }
                StageLayout::Residual {
                    name,
                    channels,
                    kernel,
                } => {
                    let sizes = (*channels, *channels, *kernel);
                    let mut layer = |part: &str| {
                        let name = format!("{name}.{part}");
                        loader.conv::<E>(&label, &name, sizes, shape.side, 1)
                    };
                    let (first, second) = (layer("conv1")?, layer("conv2")?);
                    stages.push(Stage::Residual { first, second });
                }
                StageLayout::PixelShuffle { factor } => {
                    stages.push(Stage::PixelShuffle {
                        factor: *factor,
                        sorted: matches!(stages.last(), Some(Stage::Conv { .. })),
                    });
                }
                StageLayout::Join {
                    name,
                    input,
                    channels,
                    kernel,
                } => {
                    let sizes = (*channels, *input, *kernel);
                    let layer = loader.conv::<E>(&label, name, sizes, shape.side, 1)?;
                    let factor = PATCH / shape.side;
                    stages.push(Stage::Join { layer, factor });
                }
            }
        }
        if let Some(tensor) = loader.tensors.into_keys().min() {
            return Err(ModelError::TensorUnknown { tensor });
        }
        let mut pixels = 1;
        if let Some(&Stage::PixelShuffle {
            factor,
            sorted: true,
        }) = stages.last()
        {
            pixels = factor;
            stages.pop();
            shapes.pop();
        }
        let tail = match stages.pop() {
            Some(Stage::Conv { layer, relu }) => {
                shapes.pop();
                Some(Tail {
                    layer,
                    relu,
                    pixels,
                })
            }
            last => {
                stages.extend(last);
                None
            }
        };
        Ok(Self {
            program,
            bits,
            rates,
            hidden,
            units,
            first: first.expect("a checked layout begins with patch_linear"),
            stages,
            shapes,
            tail,
            base: layout.base.map(|base| base.factor),
            parameters: loader.parameters,
            macs_per_patch: loader.macs_per_patch,
        })
    }
}

/// PyTorch's pixel shuffle by `factor` takes the channels of a position colour by colour. Gives their numbers pixel by pixel, row
/// by row: in that order what becomes a run of a row is one already.
fn by_position(channels: usize, factor: usize) -> impl Iterator<Item = usize> + Clone {
    let pixels = factor * factor;
    let colours = channels / pixels;
    (0..channels).map(move |at| at % colours * pixels + at / colours)
}

impl Loader<'_> {
    /// Takes and packs `NAME.weight` and `NAME.bias` of a linear layer.
    fn linear<E: Engine>(
        &mut self,
        stage: &str,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<E::Linear, ModelError> {
        self.account(stage, Linear::packed_len(outputs, inputs))?;
        let (weights, bias) = self.parameters(stage, name, vec![outputs, inputs], 1)?;
        Ok(E::pack_linear(&weights, bias, inputs))
    }

    /// The same of a convolution of so many output channels, input channels and kernel rows, at `side` positions along a
    /// patch. Its outputs are sorted for a pixel shuffle by `shuffled`.
    fn conv<E: Engine>(
        &mut self,
        stage: &str,
        name: &str,
        (outputs, inputs, kernel): (usize, usize, usize),
        side: usize,
        shuffled: usize,
    ) -> Result<E::Conv, ModelError> {
        self.account(stage, Conv::packed_len(outputs, inputs, kernel, side))?;
        let shape = vec![outputs, inputs, kernel, kernel];
        let (weights, bias) = self.parameters(stage, name, shape, side * side)?;
        let order = by_position(outputs, shuffled);
        let kernels: Vec<_> = weights.chunks_exact(inputs * kernel * kernel).collect();
        let weights: Vec<_> = (order.clone())
            .flat_map(|output| kernels[output])
            .copied()
            .collect();
        let bias = order.map(|output| bias[output]).collect();
        Ok(E::Conv::pack(&weights, bias, inputs, kernel, side))
    }

    /// What is too large is so in full precision, whatever it is packed for: what one machine loads, another does.
    fn account(&mut self, stage: &str, packed: usize) -> Result<(), ModelError> {
        self.packed += packed;
        if self.packed > MAX_WEIGHTS {
            return Err(ModelError::TooLarge {
                stage: stage.to_owned(),
            });
        }
        Ok(())
    }

    /// Weights of this shape, of which each patch uses each so many times, and their biases.
    fn parameters(
        &mut self,
        stage: &str,
        name: &str,
        shape: Vec<usize>,
        uses: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let outputs = shape[0];
        let weights = self.tensor(stage, format!("{name}.weight"), shape)?;
        let bias = self.tensor(stage, format!("{name}.bias"), vec![outputs])?;
        self.parameters += (weights.len() + bias.len()) as u64;
        self.macs_per_patch += (weights.len() * uses) as u64;
        Ok((weights, bias))
    }

    fn tensor(
        &mut self,
        stage: &str,
        tensor: String,
        expected: Vec<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        let Some(view) = self.tensors.remove(&tensor) else {
            return Err(ModelError::TensorMissing {
                stage: stage.to_owned(),
                tensor,
            });
        };
        if view.shape() != expected {
            return Err(ModelError::TensorShape {
                tensor,
                found: view.shape().to_vec(),
                expected,
            });
        }
        values(tensor, &view)
    }
}

/// The values of a tensor, finite and in f32.
pub(crate) fn values(tensor: String, view: &TensorView<'_>) -> Result<Vec<f32>, ModelError> {
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => {
            let (values, _) = view.data().as_chunks();
            values.iter().map(|&v| f32::from_le_bytes(v)).collect()
        }
        Dtype::F16 => {
            let (values, _) = view.data().as_chunks();
            values
                .iter()
                .map(|&v| f16::from_le_bytes(v).to_f32())
                .collect()
        }
        other => {
            return Err(ModelError::TensorType {
                tensor,
                found: other.to_string(),
            });
        }
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(ModelError::TensorValue { tensor, value }),
        None => Ok(values),
    }
}

/// 64 lowercase hexadecimal digits.
fn parse_id(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut id = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != id.len() || !rest.is_empty() {
        return None;
    }
    for (byte, &[high, low]) in id.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(id)
}
