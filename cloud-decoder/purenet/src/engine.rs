//! What a network is computed with: full precision ([`conv`](crate::conv)) or bf16 on tiles ([`tiled`](crate::tiled)).

use crate::rows::Rows;
use crate::value::Value;

/// A way to compute layers, on weights that are packed for it.
pub(crate) trait Engine: Copy + Send + Sync {
    /// What maps hold.
    type Value: Value;
    type Linear: Send + Sync;
    type Conv: Convolution<Self>;

    /// Packs weights in PyTorch's order: output, input; `bias` has one value an output.
    fn pack_linear(weights: &[f32], bias: Vec<f32>, inputs: usize) -> Self::Linear;

    /// Values in `f32` that [`Engine::synthesize`] holds for a patch of so many bits, hidden units and values.
    fn synthesis_values(bits: usize, units: usize, values: usize) -> usize;

    /// The first stage on latents of `bytes` a patch, whose bits, least significant first, are -1 and +1, and 0 where a patch has none:
    /// the values of patch after patch. What is negative after the hidden layer, if there is one, becomes zero.
    fn synthesize(
        self,
        hidden: Option<&Self::Linear>,
        last: &Self::Linear,
        latents: &[u8],
        bytes: usize,
    ) -> Vec<f32>;
}

/// A same-size convolution.
pub(crate) trait Convolution<E: Engine>: Send + Sync + Sized {
    /// Packs weights in PyTorch's order: output, input, row, column, `bias` having one value an output; for a map with `side`
    /// positions along a patch.
    fn pack(weights: &[f32], bias: Vec<f32>, inputs: usize, kernel: usize, side: usize) -> Self;

    /// Rows of the input that a row depends on, above and below.
    fn radius(&self) -> usize;

    /// Rows that are computed together.
    fn step(&self) -> usize;

    /// Rows of the output that can be had from what has come of the input.
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

/// What happens to the biased sum.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a, V> {
    /// It is the output.
    Store,
    /// It is the output, or zero is where it is negative.
    Relu,
    /// It and these rows' values together are the output.
    Add(&'a Rows<V>),
}

/// The output of a linear layer for one vector: the biased sums of all panels of outputs, zero where they are negative if `relu`.
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
