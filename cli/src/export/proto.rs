//! The messages of ONNX, generated from `proto/onnx.proto`.
#![allow(missing_docs, unreachable_pub)]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
