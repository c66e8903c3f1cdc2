//! Builds programs layer by layer; the one place where their rules are checked, for makers and the loader alike.

use crate::checks::{header, value};
use crate::chip::BUDGET_BITS;
use crate::error::ProgramError;
use crate::id::ProgramId;
use crate::kinds::{Element, OutputKind, Task};
use crate::layer::{Conv, Layer, Op};
use crate::memory::LayerMemory;
use crate::program::Program;
use crate::rules;
use crate::shapes::{ConvSpec, Map, Pool};
use crate::wiring::Wiring;
use crate::writer;

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

    /// Layers so far.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Adds a convolution that leaves out nothing: `weights` in the order of [`Conv::weights`], one bias an output
    /// channel.
    pub fn conv(
        &mut self,
        spec: ConvSpec,
        weights: Vec<i8>,
        biases: Vec<i32>,
    ) -> Result<(), ProgramError> {
        self.wired_conv(spec, Wiring::default(), weights, biases)
    }

    /// Adds a convolution with shared or pruned kernels; `weights` are those that are stored.
    pub fn wired_conv(
        &mut self,
        spec: ConvSpec,
        wiring: Wiring,
        weights: Vec<i8>,
        biases: Vec<i32>,
    ) -> Result<(), ProgramError> {
        let (layer, input) = (self.layers.len(), self.map());
        let output = self.conv_output(&spec)?;
        let conv = Conv {
            spec,
            wiring,
            weights,
            biases,
        };
        rules::check_numbers(layer, &conv, input)?;
        self.push(Layer {
            op: Op::Conv(conv),
            input,
            output,
        })
    }

    /// Adds a max pooling.
    pub fn pool(&mut self, pool: Pool) -> Result<(), ProgramError> {
        let input = self.map();
        let output = rules::pool_output(self.next_layer()?, &pool, input)?;
        self.push(Layer {
            op: Op::Pool(pool),
            input,
            output,
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
        program.id = ProgramId::of(&writer::content(&program));
        Ok(program)
    }

    /// Checks a convolution's shape against the map it would read, and gives the map it would write.
    pub(crate) fn conv_output(&self, spec: &ConvSpec) -> Result<Map, ProgramError> {
        rules::conv_output(self.next_layer()?, spec, self.map())
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
