//! From a camera's file to an encoded frame in the spool: admission, decoding, the chip's programs, the original that
//! may travel along. Errors are [`PipelineError`]; HTTP and sources translate them.

mod admission;
mod encode;
mod error;
mod message;
mod original;
mod program_files;
mod programs;
mod rate;
mod submit;

pub(crate) use self::{
    encode::{Encoder, Score},
    error::PipelineError,
    program_files::follow_programs,
    programs::{Choice, Programs},
    submit::{Pipeline, Submission},
};
