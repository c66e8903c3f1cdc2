//! The command line's grammar.

mod values;

use std::{convert::Infallible, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use values::{Named, Part};
use values::{
    or_default, parse_load_rate, parse_node, parse_part, parse_rate, parse_seconds, parse_size,
};

/// An edge node on this machine.
const EDGE: &str = "http://127.0.0.1:8080";
/// A cloud decoder on this machine.
const CLOUD: &str = "http://127.0.0.1:50051";

/// Encode camera frames on an emulated 1-megabit ASIC, rebuild them in the cloud, measure both.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start both services here, replay photographs as cameras and show what comes back.
    Demo(DemoArgs),
    /// Post frames to an edge node.
    Send(SendArgs),
    /// Encode an image to a latent container, without any service.
    Encode(EncodeArgs),
    /// Rebuild an image from a latent container, without any service.
    Decode(DecodeArgs),
    /// Check that a picture is the one that its decoder makes of its latents, in every pixel.
    ///
    /// A picture names its decoder. Exit status: 0 if all pixels are the same, 1 if some differ, 2 if it cannot be
    /// told.
    Verify(VerifyArgs),
    /// Measure reconstruction quality and classification accuracy.
    Evaluate(EvaluateArgs),
    /// Show what a program, a decoder or a file of latents is made of, or what an edge node has loaded.
    Inspect(InspectArgs),
    /// Write programs and decoders as ONNX models, for other engines.
    Export(ExportArgs),
    /// Fit the prior of the latent codec to latents that a program has made.
    FitPrior(FitPriorArgs),
    /// Measure how fast this machine encodes and decodes, compared with its instructions' peak.
    Bench(BenchArgs),
    /// Load a cloud decoder as many edge nodes would, and measure its answers.
    Load(LoadArgs),
    /// Make a certificate authority of your own, and certificates for the cloud and its nodes.
    Certs(CertsArgs),
    /// Make the folder of each host: certificates, tokens and configuration of the cloud and its nodes.
    Provision(ProvisionArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Keep the services' data here [default: a temporary folder, removed at the end].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Replay the images of this folder [default: the eight sample photographs].
    #[arg(long, value_name = "DIR")]
    pub(crate) frames: Option<PathBuf>,
    /// Stop after one pass; fail unless every frame was reconstructed and measured.
    #[arg(long)]
    pub(crate) once: bool,
    /// Decode with the small decoder.
    #[arg(long)]
    pub(crate) fast: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendArgs {
    /// Images, folders of images (subfolders are not read), videos (read by ffmpeg), or "-" for motion JPEG on standard
    /// input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) paths: Vec<PathBuf>,
    /// Address of the edge node.
    #[arg(
        long,
        env = "PATCHWIRE_EDGE",
        value_name = "URL",
        default_value = EDGE,
        value_parser = |text: &str| Ok::<_, Infallible>(or_default(text, EDGE))
    )]
    pub(crate) edge: String,
    #[command(flatten)]
    pub(crate) access: Access,
    /// Camera that the frames are from, 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'.
    #[arg(long, value_name = "NAME", default_value = "patchwire-send")]
    pub(crate) camera: String,
    /// Work that the edge node does on each frame.
    #[arg(long, value_enum, default_value_t = Task::Compress)]
    pub(crate) task: Task,
    /// Maximum frames per second; a video is sampled at this rate [default: all frames, as fast as the edge node
    /// accepts them].
    #[arg(long, value_name = "FPS", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Wait until the cloud has acknowledged every frame.
    #[arg(long)]
    pub(crate) wait: bool,
}

/// Credentials for a service that has certificates and tokens.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Access {
    /// File with a token of the service.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// CA certificates (PEM) that verify an https service [default: the system's].
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// Work asked of an edge node, as its `task` parameter spells it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Task {
    /// Latents, from which the cloud rebuilds the frame.
    Compress,
    /// A label for the whole frame; the shipped program knows CIFAR-10's ten classes only.
    Classify,
    /// Latents and such a label.
    Both,
}

impl Task {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Compress => "compress",
            Self::Classify => "classify",
            Self::Both => "both",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct EncodeArgs {
    /// PNG, JPEG, WebP or PNM image.
    pub(crate) image: PathBuf,
    /// Latent container to write.
    #[arg(short, long, value_name = "FILE.pwl")]
    pub(crate) output: PathBuf,
    /// Write coded latents, as they travel over the uplink, instead of a container.
    #[arg(long)]
    pub(crate) coded: bool,
    /// Keep only the first BITS of each patch [default: all].
    #[arg(long, value_name = "BITS")]
    pub(crate) bits: Option<u32>,
    /// Compression program; beside it may be its prior for --coded, as FILE.pwp [default: the shipped ones].
    #[arg(long, value_name = "FILE.nqe")]
    pub(crate) program: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DecodeArgs {
    /// Latent container, or coded latents.
    #[arg(value_name = "FILE.pwl")]
    pub(crate) latents: PathBuf,
    /// PNG to write.
    #[arg(short, long, value_name = "FILE.png")]
    pub(crate) output: PathBuf,
    /// Decoder weights; beside them may be the prior of coded latents, as FILE.pwp [default: the shipped ones].
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) decoder: Option<PathBuf>,
    /// The small decoder that is shipped.
    #[arg(long, conflicts_with = "decoder")]
    pub(crate) fast: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FitPriorArgs {
    /// Folder of latent containers, each of a frame that is coded alone.
    #[arg(long, value_name = "DIR")]
    pub(crate) stills: PathBuf,
    /// Folder of latent containers of one camera, whose names are in the order of its frames; may be repeated.
    #[arg(long = "video", value_name = "DIR", required = true)]
    pub(crate) videos: Vec<PathBuf>,
    /// Prior to write.
    #[arg(short, long, value_name = "FILE.pwp")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Latent container, also as the cloud's object store has it, or coded latents.
    #[arg(
        value_name = "LATENTS.pwl",
        required_unless_present = "cloud",
        requires = "picture"
    )]
    pub(crate) latents: Option<PathBuf>,
    /// The picture, as `decode` or the cloud wrote it.
    #[arg(value_name = "PICTURE.png")]
    pub(crate) picture: Option<PathBuf>,
    /// Check a frame of a running cloud decoder, by its HTTP address and the frame's id.
    #[arg(long, num_args = 2, value_names = ["URL", "ID"], conflicts_with = "latents")]
    pub(crate) cloud: Option<Vec<String>>,
    /// Decoder weights, if the picture's decoder is none that is shipped.
    #[arg(long, value_name = "FILE.safetensors")]
    pub(crate) decoder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).multiple(true).args(["images", "video", "cifar10"])),
    group(clap::ArgGroup::new("pictures").args(["images", "video"])),
)]
pub(crate) struct EvaluateArgs {
    /// Compress and rebuild every image of this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// Compress and rebuild frames of this video (read by ffmpeg); each refers to the frame before.
    #[arg(long, value_name = "FILE", requires = "fps")]
    pub(crate) video: Option<PathBuf>,
    /// Frames to take from each second of the video, at most as many as it has.
    #[arg(long, value_name = "N", requires = "video", value_parser = parse_rate)]
    pub(crate) fps: Option<f64>,
    /// First and last frame of the part of the video to take them from, counted from 0 [default: the whole video].
    #[arg(long, value_name = "FIRST..LAST", requires = "video", value_parser = parse_part)]
    pub(crate) frames: Option<Part>,
    /// Classify the 10,000 images of DIR/test_batch.bin (CIFAR-10, binary version).
    #[arg(long, value_name = "DIR")]
    pub(crate) cifar10: Option<PathBuf>,
    /// Compression program; beside it may be its prior, as FILE.pwp [default: the shipped ones].
    #[arg(long, value_name = "FILE.nqe", requires = "pictures")]
    pub(crate) program: Option<PathBuf>,
    /// Decoder weights [default: the shipped ones].
    #[arg(long, value_name = "FILE.safetensors", requires = "pictures")]
    pub(crate) decoder: Option<PathBuf>,
    /// The small decoder that is shipped.
    #[arg(long, requires = "pictures", conflicts_with = "decoder")]
    pub(crate) fast: bool,
    /// Classification program [default: the shipped one].
    #[arg(long, value_name = "FILE.nqe", requires = "cifar10")]
    pub(crate) classifier: Option<PathBuf>,
    /// Measure other codecs' pictures of the same images or frames too, made by
    /// `patchwire_training.comparison.peers` or `video_peers`.
    #[arg(long, value_name = "PEERS", requires = "pictures")]
    pub(crate) peers: Option<PathBuf>,
    /// Plot PSNR and MS-SSIM over bits per pixel, or over kbit/s of a video, as SVG.
    #[arg(long, value_name = "FILE.svg", requires = "pictures")]
    pub(crate) plot: Option<PathBuf>,
    /// Write the figures as JSON; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Program, decoder, prior or latents [default: the models that are shipped].
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Show the programs that a running edge node has loaded, and which cameras use them.
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub(crate) edge: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Write each model to DIR/NAME.onnx.
    #[arg(long, value_name = "DIR")]
    pub(crate) onnx: PathBuf,
    /// Programs and decoders [default: those that are shipped].
    #[arg(value_name = "FILE.nqe|FILE.safetensors")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Seconds for each measurement.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// Leave out the services: only the encoder and the decoder.
    #[arg(long)]
    pub(crate) networks: bool,
    /// Write the figures as JSON; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Address of the cloud decoder's gRPC port, or of a balancer before several. It keeps the frames: not one in use.
    #[arg(
        long,
        env = "PATCHWIRE_CLOUD",
        value_name = "URL",
        default_value = CLOUD,
        value_parser = |text: &str| Ok::<_, Infallible>(or_default(text, CLOUD))
    )]
    pub(crate) cloud: String,
    /// Number of edge nodes, each with its own connection and uplink stream, named load-1 to load-N.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) nodes: u32,
    /// Mean frames per second of all nodes together, at random times; with 0, nodes only stay connected.
    #[arg(long, value_name = "FPS", default_value_t = 50.0, value_parser = parse_load_rate)]
    pub(crate) rate: f64,
    /// Duration in seconds, after all nodes have connected.
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) seconds: u64,
    /// Size of the frames: the sample photographs, encoded once.
    #[arg(long, value_name = "WxH", default_value = "640x480", value_parser = parse_size)]
    pub(crate) size: (u32, u32),
    /// Seed of the random times and nodes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder of the nodes' tokens: DIR/load-1.token and so on.
    #[arg(long, value_name = "DIR")]
    pub(crate) tokens: Option<PathBuf>,
    /// CA certificates (PEM) that verify an https cloud [default: the system's].
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Client certificate (PEM) of all nodes.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Write the figures as JSON; "-" is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CertsArgs {
    /// Folder to make them in: ca.pem, cloud.pem, NODE.pem, and a .key beside each; what is there stays.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Names and addresses of the cloud, besides localhost.
    #[arg(long, value_name = "NAME")]
    pub(crate) cloud: Vec<String>,
    /// Nodes: the node_id, and further names and addresses of each.
    #[arg(long = "node", value_name = "NODE[=NAME,...]", value_parser = parse_node)]
    pub(crate) nodes: Vec<Named>,
    /// Validity of the certificates in days.
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProvisionArgs {
    /// Folder to make them in: DIR/cloud and DIR/NODE go to their hosts, the rest stays; what is there stays as it is.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Names and addresses of the cloud; nodes connect to the first.
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) cloud: Vec<String>,
    /// Port that nodes connect to.
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    pub(crate) uplink_port: u16,
    /// Nodes: the node_id, and further names and addresses that cameras use.
    #[arg(long = "node", value_name = "NODE[=NAME,...]", value_parser = parse_node)]
    pub(crate) nodes: Vec<Named>,
    /// Validity of the certificates in days.
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
}
