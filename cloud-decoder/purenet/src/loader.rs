//! From the bytes of a safetensors file to packed stages.

use crate::conv::Packed;
use crate::layout::{Layout, Shape, StageLayout};
use crate::{MAX_WEIGHTS, ModelError, PATCH};
use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;

const FORMAT: &str = "patchwire-decoder-1";

/// A loaded network.
pub(crate) struct Network {
    pub(crate) program: [u8; 32],
    pub(crate) bits: usize,
    /// Bits a patch that can be decoded, increasing; the last is `bits`.
    pub(crate) rates: Vec<u32>,
    /// Layer of the first stage before its last one, if it has one.
    pub(crate) hidden: Option<Packed>,
    pub(crate) first: Packed,
    pub(crate) stages: Vec<Stage>,
    /// Output shape of the first stage, then of each of `stages`.
    pub(crate) shapes: Vec<Shape>,
    /// Factor of the skip connection from the first stage to the frame.
    pub(crate) base: Option<usize>,
    pub(crate) parameters: u64,
    pub(crate) macs_per_patch: u64,
    /// Pixels that one output pixel depends on, to each side, within the map of the first stage.
    pub(crate) radius: usize,
}

/// A stage after the first.
pub(crate) enum Stage {
    Conv {
        layer: Packed,
        relu: bool,
    },
    Residual {
        first: Packed,
        second: Packed,
    },
    PixelShuffle {
        factor: usize,
    },
    /// `factor` pixels of the frame along the side of a position.
    Join {
        layer: Packed,
        factor: usize,
    },
}

/// Reads tensors and keeps account of them.
struct Loader<'a> {
    tensors: HashMap<String, TensorView<'a>>,
    packed: usize,
    parameters: u64,
    macs_per_patch: u64,
}

impl Network {
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, ModelError> {
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
        let layout: Layout = serde_json::from_str(entry("stages")?).map_err(ModelError::Stages)?;
        let shapes = layout.shapes()?;

        let tensors = SafeTensors::deserialize(bytes)?
            .tensors()
            .into_iter()
            .collect();
        let mut loader = Loader {
            tensors,
            packed: 0,
            parameters: 0,
            macs_per_patch: 0,
        };
        let (mut hidden, mut first) = (None, None);
        let (mut bits, mut rates) = (0, Vec::new());
        let mut stages = Vec::new();
        let mut radius = 0;
        for (index, (stage, &shape)) in layout.stages.iter().zip(&shapes).enumerate() {
            let label = stage.label(index);
            match stage {
                StageLayout::PatchLinear {
                    name,
                    bits: inputs,
                    prefixes,
                    hidden: units,
                    ..
                } => {
                    bits = *inputs;
                    rates = prefixes.iter().chain([inputs]).map(|&n| n as u32).collect();
                    let area = Area {
                        kernel: None,
                        positions: 1,
                    };
                    if let Some(units) = *units {
                        let name = format!("{name}.hidden");
                        hidden = Some(loader.layer(&label, &name, units, bits, area)?);
                    }
                    let inputs = units.unwrap_or(bits);
                    first = Some(loader.layer(&label, name, shape.values(), inputs, area)?);
                }
                StageLayout::Conv {
                    name,
                    input,
                    output,
                    kernel,
                    relu,
                } => {
                    let area = Area::of(*kernel, shape);
                    let layer = loader.layer(&label, name, *output, *input, area)?;
                    radius += kernel / 2 * PATCH / shape.side;
                    stages.push(Stage::Conv { layer, relu: *relu });
                }
                StageLayout::Residual {
                    name,
                    channels,
                    kernel,
                } => {
                    let area = Area::of(*kernel, shape);
                    let mut layer = |part: &str| {
                        let name = format!("{name}.{part}");
                        loader.layer(&label, &name, *channels, *channels, area)
                    };
                    let (first, second) = (layer("conv1")?, layer("conv2")?);
                    radius += 2 * (kernel / 2) * PATCH / shape.side;
                    stages.push(Stage::Residual { first, second });
                }
                StageLayout::PixelShuffle { factor } => {
                    stages.push(Stage::PixelShuffle { factor: *factor });
                }
                StageLayout::Join {
                    name,
                    input,
                    channels,
                    kernel,
                } => {
                    let area = Area::of(*kernel, shape);
                    let layer = loader.layer(&label, name, *channels, *input, area)?;
                    let factor = PATCH / shape.side;
                    radius += kernel / 2 * factor;
                    stages.push(Stage::Join { layer, factor });
                }
            }
        }
        if let Some(tensor) = loader.tensors.into_keys().min() {
            return Err(ModelError::TensorUnknown { tensor });
        }
        Ok(Self {
            program,
            bits,
            rates,
            hidden,
            first: first.expect("a checked layout begins with patch_linear"),
            stages,
            shapes,
            base: layout.base.map(|base| base.factor),
            parameters: loader.parameters,
            macs_per_patch: loader.macs_per_patch,
            radius,
        })
    }
}

/// Where a layer's weights apply.
#[derive(Clone, Copy)]
struct Area {
    /// Side of the kernel, `None` for a linear layer.
    kernel: Option<usize>,
    /// Times a patch that the weights are used.
    positions: usize,
}

impl Area {
    fn of(kernel: usize, shape: Shape) -> Self {
        Self {
            kernel: Some(kernel),
            positions: shape.side * shape.side,
        }
    }
}

impl Loader<'_> {
    /// Takes and packs `NAME.weight` and `NAME.bias`.
    fn layer(
        &mut self,
        stage: &str,
        name: &str,
        outputs: usize,
        inputs: usize,
        area: Area,
    ) -> Result<Packed, ModelError> {
        let kernel = area.kernel.unwrap_or(1);
        self.packed += Packed::packed_len(outputs, inputs, kernel);
        if self.packed > MAX_WEIGHTS {
            return Err(ModelError::TooLarge {
                stage: stage.to_owned(),
            });
        }
        let mut shape = vec![outputs, inputs];
        shape.extend(area.kernel.iter().flat_map(|&side| [side, side]));
        let weights = self.tensor(stage, format!("{name}.weight"), shape)?;
        let bias = self.tensor(stage, format!("{name}.bias"), vec![outputs])?;
        self.parameters += (weights.len() + bias.len()) as u64;
        self.macs_per_patch += (weights.len() * area.positions) as u64;
        Ok(Packed::new(&weights, bias, inputs, kernel))
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
