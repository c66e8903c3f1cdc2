//! A decoder's file to read, not to run.

use std::collections::BTreeMap;
use std::fmt;

use kernels::{Kernel, Simd};
use ndarray::{ArrayD, ArrayViewD};

use crate::error::ModelError;
use crate::file::File;
use crate::float;
use crate::graph::{ChannelOrder, Graph};
use crate::layout::Layout;
use crate::network::Network;
use crate::shape::Shape;
use crate::stages::Drawing;

/// The network of a decoder's file in floating point, for other engines than [`Decoder`](crate::Decoder): its layers
/// without their rounding and saturation.
pub struct Model {
    program: [u8; 32],
    layout: Layout,
    shapes: Vec<Shape>,
    tensors: BTreeMap<String, ArrayD<f32>>,
}

/// A network's outputs in a graph.
pub struct Drawn<V> {
    /// The last map.
    pub map: V,
    /// The frame that is to be added to it, where the network has a base.
    pub base: Option<V>,
}

impl Model {
    /// Reads the bytes of a `.safetensors` file.
    ///
    /// # Errors
    /// As [`Decoder::from_safetensors`](crate::Decoder::from_safetensors): both accept the same files.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, ModelError> {
        // All rules are those of loading.
        let plain = Simd::detect(Kernel::Scalar).expect("plain code runs everywhere");
        Network::load(bytes, plain)?;
        let file = File::open(bytes)?;
        let shapes = file.layout.shapes()?;
        Ok(Self {
            program: file.program,
            tensors: float::tensors(&file.layout, &shapes, file.tensors)?,
            layout: file.layout,
            shapes,
        })
    }

    /// Id of the program whose latents it decodes.
    pub fn program(&self) -> [u8; 32] {
        self.program
    }

    /// The network.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Adds the network's operations to a graph, from a map of latents: bits of patches, -1 and 1, 0 beyond a prefix.
    /// Gives the last map, and the frame of the base that is to be added to it, where the network has one.
    ///
    /// # Errors
    /// As the graph's.
    pub fn draw<G: Graph>(
        &self,
        graph: &mut G,
        latents: G::Value,
    ) -> Result<Drawn<G::Value>, G::Error> {
        let (mut map, mut base) = (latents, None);
        for (index, stage) in self.layout.stages.iter().enumerate() {
            let place = self.layout.place(index, self.shapes[index]);
            map = stage.draw(Drawing {
                graph,
                map,
                place: &place,
                frame: base.as_ref(),
            })?;
            if index == 0 {
                let frame = self.layout.base.as_ref();
                base = frame.map(|base| {
                    graph.shuffle("base", &map, base.factor, ChannelOrder::ChannelFirst)
                });
            }
        }
        Ok(Drawn { map, base })
    }

    /// `NAME.weight` [output, input, kernel row, kernel column], of the first stage [output, input], or `NAME.bias`
    /// [output] of a layer. Maps have the values that they have in integers, but frames are from 0 to 1.
    pub fn tensor(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        self.tensors.get(name).map(|tensor| tensor.view())
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}
