//! `export`: programs and decoders as ONNX, for other engines.

mod decoder;
mod graph;
mod program;
mod proto;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nqe::Program;
use prost::Message;

use crate::args::ExportArgs;
use crate::frames::read_bounded;
use crate::models::{MAX_MODEL_BYTES, is_program};
use crate::terminal::{grouped, out};

/// `patchwire export`.
pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    // All are made before the first is written.
    let mut files = BTreeMap::new();
    for (stem, bytes) in shipped(args) {
        files.insert(
            stem.into(),
            onnx(bytes).context("a shipped model does not export")?,
        );
    }
    for path in &args.files {
        let bytes = read_bounded(path, MAX_MODEL_BYTES)?;
        let file = onnx(&bytes).with_context(|| format!("{} does not export", path.display()))?;
        let stem = path.file_stem().unwrap_or_default().to_owned();
        let name = stem.display().to_string();
        let first = files.insert(stem, file).is_none();
        ensure!(first, "two of the files would be written to {name}.onnx");
    }
    std::fs::create_dir_all(&args.onnx)
        .with_context(|| format!("cannot make {}", args.onnx.display()))?;
    files
        .into_iter()
        .try_for_each(|(stem, file)| write(&args.onnx, stem, &file))
}

/// The models that are exported where no files are given.
fn shipped(args: &ExportArgs) -> &'static [(&'static str, &'static [u8])] {
    static SHIPPED: [(&str, &[u8]); 4] = [
        ("classify", patchwire_models::CLASSIFY),
        ("compress", patchwire_models::COMPRESS),
        ("decoder", patchwire_models::DECODER),
        ("fast", patchwire_models::FAST_DECODER),
    ];
    if args.files.is_empty() { &SHIPPED } else { &[] }
}

/// The ONNX file of a program or a decoder.
fn onnx(bytes: &[u8]) -> Result<Vec<u8>> {
    let model = if is_program(bytes) {
        program::model(&Program::from_bytes(bytes)?)?
    } else {
        decoder::model(bytes)?
    };
    Ok(model.encode_to_vec())
}

fn write(folder: &Path, mut stem: OsString, file: &[u8]) -> Result<()> {
    stem.push(".onnx");
    let path = folder.join(stem);
    std::fs::write(&path, file).with_context(|| format!("cannot write {}", path.display()))?;
    let bytes = grouped(file.len() as u64);
    Ok(out(format!("{}: {bytes} bytes", path.display()))?)
}
