//! The two traits of a stage: its description, and the stage that was lowered from it.

use kernels::Simd;

use crate::checks::Checks;
use crate::error::ModelError;
use crate::graph::Graph;
use crate::maps::{Bytes, Forms, Map};
use crate::rows::Rows;
use crate::shape::Shape;
use crate::tensors::Tensors;

/// A stage after the first as the file describes it.
pub(crate) trait Description {
    const KIND: &'static str;

    /// Prefix of its tensors, if it has any.
    fn name(&self) -> Option<&str>;

    /// Checks the stage's numbers against its input and gives the shape of its output.
    fn check(&self, input: Shape, checks: &Checks<'_>) -> Result<Shape, ModelError>;

    /// Adds the stage's operations to a graph and gives its output.
    fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G>;
}

/// A stage of packed layers, or the tensor that is not as described.
pub(crate) type Lowering = Result<Box<dyn Stage>, ModelError>;

/// Where a description's weights come from and go to.
pub(crate) struct Lower<'l, 't> {
    pub(crate) simd: Simd,
    pub(crate) place: &'l Place,
    pub(crate) tensors: &'l mut Tensors<'t>,
}

/// A graph that a stage adds its operations to.
pub(crate) struct Drawing<'g, G: Graph> {
    pub(crate) graph: &'g mut G,
    /// The stage's input.
    pub(crate) map: G::Value,
    pub(crate) place: &'g Place,
    /// The frame of the first stage, for those that join it.
    pub(crate) frame: Option<&'g G::Value>,
}

/// A stage's output in the graph, or the graph's error.
pub(crate) type Drawn<G> = Result<<G as Graph>::Value, <G as Graph>::Error>;

/// Where a stage stands.
pub(crate) struct Place {
    /// Position, kind and name, for messages.
    pub(crate) label: String,
    /// Shape of the stage's output.
    pub(crate) output: Shape,
    /// Factor of the pixel shuffle that follows; 1 if another stage follows.
    pub(crate) shuffled_by: usize,
}

/// A stage of packed layers.
pub(crate) trait Stage: Send + Sync {
    /// The forms of its input that it reads.
    fn reads(&self) -> Forms;

    /// The map that it keeps between its input and its output of this shape, if it has one.
    fn inner(&self, _output: Shape) -> Option<(Shape, Forms)> {
        None
    }

    /// Rows of its input by which its output can be behind.
    fn lag(&self) -> usize;

    /// Computes the rows for which the input suffices, and releases the input's rows that it needs no more.
    fn advance(&self, maps: StageMaps<'_>);
}

/// The maps that one stage reads and writes.
pub(crate) struct StageMaps<'m> {
    pub(crate) input: &'m mut Map,
    /// The map of [`Stage::inner`].
    pub(crate) inner: Option<&'m mut Map>,
    pub(crate) output: &'m mut Map,
    /// The frame of the first stage alone.
    pub(crate) base: Option<&'m Rows<i16>>,
}

/// A map's bytes.
pub(crate) fn bytes(map: &mut Option<Bytes>) -> &mut Bytes {
    map.as_mut().expect("`reads` and `inner` ask for bytes")
}

/// A map's values.
pub(crate) fn wide(map: &mut Option<Rows<i16>>) -> &mut Rows<i16> {
    map.as_mut().expect("`reads` asks for 16 bits")
}
