//! Two versions of the models, and what they make of a picture without any service.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use latent::LatentFrame;
use nqe::{Emulator, Program};
use purenet::Decoder;
use safetensors::{SafeTensors, tensor::TensorView};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::pictures::Picture;

/// Name of the later program in its folder.
pub(crate) const LATER: &str = "later";
/// Bytes of a prior before its program's id.
const PROGRAM_AT: usize = 4;
/// Bytes of a program before its name's length, and of the digest at its end.
const NAME_AT: usize = 12;
const DIGEST: usize = 32;
/// Bias of the decoder's last convolution.
const BIAS: &str = "tail.bias";
/// Most classes of a label.
const MAX_LABELS: usize = 16;

/// One class of a label.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Score {
    pub(crate) label: String,
    pub(crate) score: f32,
}

/// The shipped models and a later version of them.
pub(crate) struct Models {
    /// The later version's program.
    pub(crate) program: PathBuf,
    pairs: HashMap<String, (Emulator, Decoder)>,
    classifier: Emulator,
}

impl Models {
    /// Makes the later version in `folder`: a program with an id of its own, its prior, and the only decoder there,
    /// which paints otherwise, so that a frame decoded by the wrong one is told from a right one.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let (program, id) = renamed(patchwire_models::COMPRESS)?;
        let decoder = repainted(patchwire_models::DECODER, &id)?;
        let program_file = folder.join(LATER).with_extension("nqe");
        fs::write(&program_file, &program)?;
        fs::write(program_file.with_extension("pwp"), prior_of(&id)?)?;
        fs::write(program_file.with_extension("safetensors"), &decoder)?;
        let shipped = (patchwire_models::COMPRESS, patchwire_models::DECODER);
        let mut pairs = HashMap::new();
        for (program, decoder) in [shipped, (&program, &decoder)] {
            let program = Program::from_bytes(program).context("program")?;
            let id = program.id().to_string();
            let decoder = Decoder::from_safetensors(decoder).context("decoder")?;
            pairs.insert(id, (Emulator::new(Arc::new(program)), decoder));
        }
        let classifier = Program::from_bytes(patchwire_models::CLASSIFY).context("program")?;
        Ok(Self {
            program: program_file,
            pairs,
            classifier: Emulator::new(Arc::new(classifier)),
        })
    }

    /// The latents of a picture, by a program (hexadecimal id) at a rate.
    pub(crate) fn latents(
        &self,
        picture: &Picture,
        program: &str,
        bits: u32,
    ) -> Result<LatentFrame> {
        let (emulator, _) = self.pairs.get(program).context("a program of another")?;
        let (rgb, width, height) = (picture.pixels()?, picture.width, picture.height);
        let whole = LatentFrame {
            bits: emulator.program().latent_bits().unwrap_or_default(),
            width,
            height,
            program: *emulator.program().id().as_bytes(),
            payload: emulator.encode_frame(&rgb, width, height)?.into(),
        };
        Ok(whole.prefix(bits)?)
    }

    /// Id of the program that classifies, in hexadecimal.
    pub(crate) fn classifier(&self) -> String {
        self.classifier.program().id().to_string()
    }

    /// The edge's label for a picture, most likely class first.
    pub(crate) fn label(&self, picture: &Picture) -> Result<Vec<Score>> {
        let program = self.classifier.program();
        let logits =
            self.classifier
                .classify_frame(&picture.pixels()?, picture.width, picture.height)?;
        let scale = (-f64::from(program.score_shift())).exp2() as f32;
        let top = i64::from(logits.iter().copied().max().unwrap_or_default());
        let weight = |logit: i32| ((i64::from(logit) - top) as f32 * scale).exp();
        let total: f32 = logits.iter().map(|&logit| weight(logit)).sum();
        let mut ranked: Vec<_> = program.labels().iter().zip(logits).collect();
        ranked.sort_by_key(|&(_, logit)| std::cmp::Reverse(logit));
        ranked.truncate(MAX_LABELS);
        let score = |(label, logit): (&String, i32)| Score {
            label: label.clone(),
            score: (weight(logit) / total).min(1.0),
        };
        Ok(ranked.into_iter().map(score).collect())
    }

    /// The cloud's picture of latents: interleaved RGB.
    pub(crate) fn reconstruct(&self, latents: &LatentFrame) -> Result<Vec<u8>> {
        let pair = self.pairs.get(&hex::encode(latents.program));
        let (_, decoder) = pair.context("a program of another")?;
        Ok(decoder.decode(&latents.payload, latents.width, latents.height)?)
    }
}

/// The program under another name, and its id in hexadecimal.
fn renamed(program: &[u8]) -> Result<(Vec<u8>, String)> {
    let mut bytes = program.to_vec();
    let first = bytes.get_mut(NAME_AT + 1).context("a program has a name")?;
    *first = if *first == b'v' { b'w' } else { b'v' };
    let body = bytes.len() - DIGEST;
    let digest = Sha256::digest(&bytes[..body]);
    bytes[body..].copy_from_slice(&digest);
    Ok((bytes, hex::encode(digest)))
}

/// The shipped prior as that of program `id`, whose latents are the same.
fn prior_of(id: &str) -> Result<Vec<u8>> {
    let mut bytes = patchwire_models::PRIOR.to_vec();
    let id = hex::decode(id)?;
    let program = bytes.get_mut(PROGRAM_AT..PROGRAM_AT + id.len());
    program
        .context("a prior has a program")?
        .copy_from_slice(&id);
    Ok(bytes)
}

/// The decoder for program `id`, with the biases of its last convolution in reverse.
fn repainted(decoder: &[u8], id: &str) -> Result<Vec<u8>> {
    let (_, header) = SafeTensors::read_metadata(decoder)?;
    let mut metadata = header
        .metadata()
        .clone()
        .context("a decoder has metadata")?;
    metadata.insert("program".into(), id.into());
    let tensors = SafeTensors::deserialize(decoder)?;
    let mut tensors: BTreeMap<_, _> = tensors.tensors().into_iter().collect();
    let bias = tensors.get(BIAS).with_context(|| format!("no {BIAS}"))?;
    let size = bias.data().len() / bias.shape()[0];
    let reversed: Vec<u8> = bias.data().chunks(size).rev().flatten().copied().collect();
    let view = TensorView::new(bias.dtype(), bias.shape().to_vec(), &reversed)?;
    tensors.insert(BIAS.into(), view);
    Ok(safetensors::serialize(tensors, Some(metadata))?)
}
