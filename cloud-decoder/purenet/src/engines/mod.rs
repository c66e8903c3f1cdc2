//! Arithmetic: layers in full precision (`conv`, `linear`, `winograd`) and in bf16 on AMX tiles (`tiled`), over the
//! kernels of each instruction set (`simd`).

pub(crate) mod conv;
pub(crate) mod linear;
pub(crate) mod simd;
pub(crate) mod tiled;
mod winograd;
