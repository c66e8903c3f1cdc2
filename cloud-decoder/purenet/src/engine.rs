//! The seam between stages and arithmetic: stages name layers, and an engine packs and computes them.
//!
//! There are two engines: full precision ([`conv`](crate::engines::conv)) and bf16 on tiles
//! ([`tiled`](crate::engines::tiled)).

use crate::rows::Rows;
use crate::value::Value;

/// Computes layers on weights that it has packed.
pub(crate) trait Engine: Copy + Send + Sync + 'static {
    /// The numbers in a feature map.
    type Value: Value;
    type Linear: Send + Sync;
    type Conv: Convolution<Self>;

    /// Packs weights in PyTorch's order: output, input. `bias` has one value per output.
    fn pack_linear(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Self::Linear;

    /// Values in `f32` that [`Engine::synthesize`] holds per patch, given its bits, hidden units and output values.
    fn synthesis_values(bits: usize, units: usize, values: usize) -> usize;

    /// The first stage on latents of `bytes` per patch, whose bits, least significant first, count as -1 and +1, and as
    /// 0 beyond the patch's last. Gives the values of patch after patch. Negative sums of the hidden layer become zero.
    fn synthesize(
        self,
        hidden: Option<&Self::Linear>,
        last: &Self::Linear,
        latents: &[u8],
        bytes: usize,
    ) -> Vec<f32>;
}

/// A same-size convolution.
pub(crate) trait Convolution<E: Engine>: Send + Sync + Sized + 'static {
    /// Packs weights in PyTorch's order (output, input, row, column) for a map with `side` positions along a patch.
    /// `bias` has one value per output.
    fn pack(weights: &[f32], bias: Vec<f32>, inputs: usize, kernel: usize, side: usize) -> Self;

    /// Rows of the input that a row depends on, above and below.
    fn radius(&self) -> usize;

    /// Rows that are computed together.
    fn step(&self) -> usize;

    /// Rows by which the output can be behind the input.
    fn lag(&self) -> usize {
        self.radius() + self.step()
    }

    /// Rows of the output that the rows of the input so far suffice for.
    fn ready(&self, input: &Rows<E::Value>) -> usize {
        let ready = input
            .reach()
            .saturating_sub(self.radius())
            .min(input.height());
        ready - ready % self.step()
    }

    /// Computes rows of the output, from row `first` on.
    fn convolve<O: Value>(
        &self,
        engine: E,
        input: &Rows<E::Value>,
        first: usize,
        output: Vec<&mut [O]>,
        finish: Finish<'_, E::Value>,
    );
}

/// The end of a layer: from the biased sum to the output.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a, V> {
    /// The sum.
    Store,
    /// The sum, or zero if it is negative.
    Relu,
    /// The sum plus the value of these rows.
    Add(&'a Rows<V>),
}

impl<V> Finish<'_, V> {
    pub(crate) fn relu_if(relu: bool) -> Self {
        if relu { Self::Relu } else { Self::Store }
    }
}

/// The output of a linear layer for one vector: the biased sums of all panels of outputs. With `relu`, negative ones
/// become zero.
pub(crate) fn join<'s, const PANEL: usize>(
    panels: impl Iterator<Item = &'s [f32; PANEL]>,
    bias: &[f32],
    relu: bool,
    output: &mut [f32],
) {
    let outputs = output.chunks_mut(PANEL).zip(bias.chunks(PANEL));
    for ((output, bias), sums) in outputs.zip(panels) {
        for ((output, bias), sum) in output.iter_mut().zip(bias).zip(sums) {
            let value = sum + bias;
            *output = if relu { value.max(0.0) } else { value };
        }
    }
}
