//! The frames that the nodes send: latents of the sample photographs, encoded once.

use std::sync::Arc;

use anyhow::Result;
use patchwire_proto::frame_crc32c;
use patchwire_proto::v1::{EncodedFrame, Program};

use crate::demo::samples;
use crate::frames::Frame;
use crate::latents::compress;
use crate::models;

/// An encoded frame without id, camera and time.
pub(super) type Picture = EncodedFrame;

/// The pictures, and the description of the program that made them.
pub(super) fn encode(width: u32, height: u32) -> Result<(Arc<[Picture]>, Vec<Program>)> {
    let emulator = models::compressor(None)?;
    let pictures = samples(width, height)?.map(|rgb| {
        let frame = Frame {
            name: String::new(),
            width,
            height,
            rgb: rgb?.into_raw(),
        };
        let latents = compress(&emulator, &frame)?.encode();
        Ok(EncodedFrame {
            width,
            height,
            crc32c: frame_crc32c(&latents, &[]),
            latents,
            source_format: "patchwire load".to_owned(),
            ..EncodedFrame::default()
        })
    });
    let pictures: Result<Vec<_>> = pictures.collect();
    Ok((
        pictures?.into(),
        vec![edge_node::describe_program(&emulator)],
    ))
}
