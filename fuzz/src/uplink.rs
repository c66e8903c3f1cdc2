//! Messages of an edge node to the cloud, and of the cloud to an edge node.

use ::latent::LatentFrame;
use cloud_decoder::{
    ingest::{CheckedFrame, validate},
    store::stored_frame::StoredFrame,
};
use patchwire_proto::{
    checked, limits,
    v1::{CloudMessage, EdgeMessage, EncodedFrame, cloud_message, edge_message::Body},
};

use ::uplink::Reply;

use crate::latent;

const MAX_PIXELS: u64 = 1 << 20;

pub(crate) fn run(input: &[u8]) {
    let input = checked::seal(input);
    if let Ok(message) = checked::decode::<EdgeMessage>(input.clone()) {
        again(&message);
        match message.body {
            Some(Body::Hello(hello)) => drop(limits::check_hello(&hello)),
            Some(Body::Frame(frame)) => {
                take(frame.clone());
                take(seal(frame));
            }
            Some(Body::Status(status)) => drop(limits::check_status(&status)),
            None => {}
        }
    }
    if let Ok(message) = checked::decode::<CloudMessage>(input) {
        again(&message);
        if let Some(cloud_message::Body::Welcome(welcome)) = &message.body {
            drop(limits::check_welcome(welcome));
        }
        if let Ok(Reply::Ack(ack)) = Reply::try_from(message) {
            assert_eq!(ack.id.get_version_num(), 7);
        }
    }
}

/// A message that was read can be written and read again.
fn again<M: prost::Message + Default + PartialEq>(message: &M) {
    let bytes = message.encode_to_vec();
    assert_eq!(bytes.len(), message.encoded_len());
    let read = M::decode(&*bytes).expect("a message as it was written");
    // NaN is not itself.
    assert!(read == *message || read.encode_to_vec() == bytes);
}

/// The frame with the checksums that its bytes give; a fuzzer does not find those.
fn seal(mut frame: EncodedFrame) -> EncodedFrame {
    if let Some(latents) = latent::seal(&frame.latents) {
        frame.latents = latents;
    }
    frame.crc32c = frame.compute_crc32c();
    frame
}

fn take(frame: EncodedFrame) {
    match validate(MAX_PIXELS, "node", 1_790_000_000_000, frame) {
        Err(reason) => {
            assert!(
                !reason.is_empty() && reason.chars().count() < 1000,
                "{reason}"
            );
        }
        Ok(CheckedFrame {
            row: frame,
            object,
            original,
        }) => {
            assert!(u64::from(frame.width) * u64::from(frame.height) <= MAX_PIXELS);
            assert!(limits::check_id("camera", &frame.camera_id).is_ok());
            assert_eq!(frame.bytes, (object.len() + original.len()) as u64);
            assert_eq!(original.is_empty(), frame.original_type.is_none());
            let latents = StoredFrame::decode(object).expect("just made").latents;
            assert_eq!(latents.is_empty(), frame.program_id.is_none());
            if !latents.is_empty() {
                let latents = LatentFrame::decode(latents).expect("checked");
                assert_eq!(frame.latent_bits, latents.total_bits());
            }
            assert!(
                frame
                    .latent_ones
                    .is_none_or(|ones| (0.0..=1.0).contains(&ones))
            );
        }
    }
}
