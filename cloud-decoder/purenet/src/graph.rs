//! The network as a graph of operations that every inference engine has.

/// Receives a network operation by operation, for example to write it for another engine. Maps are (channel, row,
/// column).
pub trait Graph {
    /// A map in the graph.
    type Value: Clone;
    /// Why an operation cannot be added.
    type Error;

    /// A same-size convolution with the tensors `NAME.weight` and `NAME.bias`.
    ///
    /// # Errors
    /// As the implementation says.
    fn conv(
        &mut self,
        name: &str,
        map: &Self::Value,
        kernels: Kernels,
    ) -> Result<Self::Value, Self::Error>;

    /// max(0, x).
    fn relu(&mut self, name: &str, map: &Self::Value) -> Self::Value;

    /// The sum of two maps.
    fn add(&mut self, name: &str, a: &Self::Value, b: &Self::Value) -> Self::Value;

    /// Channels to positions: sides grow by `factor`, channels shrink by its square.
    fn shuffle(
        &mut self,
        name: &str,
        map: &Self::Value,
        factor: usize,
        order: ChannelOrder,
    ) -> Self::Value;

    /// Positions to channels, in the order (row, column, channel).
    fn unshuffle(&mut self, name: &str, map: &Self::Value, factor: usize) -> Self::Value;
}

/// The kernels of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels {
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of a kernel.
    pub side: usize,
    /// Positions whose pixels are the input's channels: the input is a frame that [`Graph::unshuffle`] took apart by
    /// the root of this, and the weights are in PyTorch's order (channel, row, column). 1 for any other input.
    pub unshuffled: usize,
}

/// Which of a position's channels become one output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// (channel, row, column), as in PyTorch's pixel shuffle.
    ChannelFirst,
    /// (row, column, channel).
    ChannelLast,
}

impl Kernels {
    /// Kernels of `side` rows and columns over any input but an unshuffled frame.
    pub(crate) fn new(outputs: usize, side: usize) -> Self {
        Self {
            outputs,
            side,
            unshuffled: 1,
        }
    }
}
