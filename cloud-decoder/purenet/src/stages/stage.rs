//! The two traits of a stage: its description, and the stage that was lowered from it.

use crate::checks::Checks;
use crate::engine::Engine;
use crate::error::ModelError;
use crate::graph::Graph;
use crate::rows::Rows;
use crate::shape::Shape;
use crate::weights::Weights;

/// A stage after the first as the file describes it.
pub(crate) trait Description {
    const KIND: &'static str;

    /// Prefix of its tensors, if it has any.
    fn name(&self) -> Option<&str>;

    /// Checks the stage's numbers against its input and gives the shape of its output.
    fn check(&self, input: Shape, checks: &Checks<'_>) -> Result<Shape, ModelError>;

    /// Packs its weights for an engine.
    fn lower<E: Engine>(&self, place: &Place, weights: &mut Weights<'_>) -> Lowering<E>;

    /// Adds its operations to a graph and gives its output.
    fn draw<G: Graph>(&self, drawing: Drawing<'_, G>) -> Drawn<G>;
}

/// A stage packed for an engine, or the tensor that is not as described.
pub(crate) type Lowering<E> = Result<Box<dyn Stage<E>>, ModelError>;

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
    /// Whether the stage before is a convolution.
    pub(crate) after_conv: bool,
}

/// A stage with weights that are packed for an engine.
pub(crate) trait Stage<E: Engine>: Send + Sync {
    /// Shape of the map that it keeps between its input and its output of this shape, if it has one.
    fn inner(&self, _output: Shape) -> Option<Shape> {
        None
    }

    /// Rows of positions by which its output can be behind its input.
    fn lag(&self) -> usize;

    /// Computes the rows for which the input suffices, and releases the input's rows that it needs no more.
    fn advance(&self, engine: E, maps: StageMaps<'_, E::Value>);
}

/// The maps that one stage reads and writes.
pub(crate) struct StageMaps<'m, V> {
    pub(crate) input: &'m mut Rows<V>,
    /// The map of [`Stage::inner`].
    pub(crate) inner: Option<&'m mut Rows<V>>,
    pub(crate) output: &'m mut Rows<V>,
    /// The frame of the first stage alone.
    pub(crate) base: Option<&'m Rows<f32>>,
}
