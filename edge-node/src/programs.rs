//! The programs that are loaded, and which camera has which.
//!
//! # The file
//!
//! The folder `programs.folder` has programs, `NAME.nqe`, side by side, and a file `cameras` with one choice a line,
//! `CAMERA TASK NAME`, for example `gate compress night`. The camera `*` is every camera that has no line of its own.
//! Empty lines and lines that begin with `#` are skipped. What no line chooses is the program of `programs.compress` or
//! `programs.classify`, or else the shipped one.
//!
//! All these files are read again when they change. A frame that is under way is finished by the programs that it began
//! with, and every frame says which program made it, so a switch loses none.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use daemon::{
    error::one_line,
    files::{self, FileError, Live},
};
use nqe::{Emulator, Program, Task};
use patchwire_proto::limits::{MAX_LABEL_TEXT, MAX_PROGRAMS, check_id};

use crate::{config::Config, rate::Rate};

/// Name of the file of choices.
const CAMERAS: &str = "cameras";
/// What programs' names end with.
const ENDING: &str = "nqe";
/// The camera that stands for all that have no line.
const ALL: &str = "*";

/// A program on the emulator.
pub struct Loaded {
    /// The emulator.
    pub emulator: Emulator,
    /// Of a program that compresses.
    rate: Option<Rate>,
}

impl Loaded {
    /// Id of the program.
    pub fn id(&self) -> [u8; 32] {
        *self.emulator.program().id().as_bytes()
    }

    /// Bits a patch of a new frame when `fill` of the spool, 0 to 1, is taken; 0 of a program that classifies.
    pub fn bits(&self, fill: f64) -> u32 {
        self.rate.as_ref().map_or(0, |rate| rate.bits(fill))
    }
}

/// The programs of one camera.
#[derive(Clone)]
pub struct Choice {
    /// For the task to compress.
    pub compress: Arc<Loaded>,
    /// For the task to classify.
    pub classify: Arc<Loaded>,
}

/// All that are loaded.
pub struct Programs {
    all: Choice,
    cameras: BTreeMap<String, Choice>,
}

impl Programs {
    /// Loads the programs that a configuration chooses, and again when their files change.
    ///
    /// # Errors
    /// A program that cannot be read, is not valid, is over budget, is for the other task or fails on a warm-up patch.
    pub fn start(config: &Config) -> Result<Live<Self>, FileError> {
        let names = [
            &config.programs.compress,
            &config.programs.classify,
            &config.programs.folder,
        ];
        let names: Vec<_> = names.into_iter().flatten().collect();
        let names: Vec<_> = names
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let (reading, making) = (config.programs.clone(), config.clone());
        Live::follow(
            names.join(", "),
            move || Sources::read(&reading),
            move |sources| sources.load(&making),
        )
    }

    /// The programs of a camera.
    pub fn of(&self, camera: &str) -> &Choice {
        self.cameras.get(camera).unwrap_or(&self.all)
    }

    /// Those of cameras without a line of their own.
    pub fn all(&self) -> &Choice {
        &self.all
    }

    /// Those of cameras with one, by camera.
    pub fn cameras(&self) -> impl Iterator<Item = (&str, &Choice)> {
        self.cameras
            .iter()
            .map(|(camera, choice)| (camera.as_str(), choice))
    }

    /// Each program once, those of most cameras first.
    pub fn loaded(&self) -> Vec<&Arc<Loaded>> {
        let mut seen = HashSet::new();
        [&self.all]
            .into_iter()
            .chain(self.cameras.values())
            .flat_map(|choice| [&choice.compress, &choice.classify])
            .filter(|loaded| seen.insert(loaded.id()))
            .collect()
    }
}

/// What the files contain.
#[derive(PartialEq)]
struct Sources {
    /// By task and by file; the shipped program where there is none.
    programs: BTreeMap<(bool, Option<PathBuf>), Vec<u8>>,
    /// File of each line's program, by camera and by whether it classifies.
    lines: BTreeMap<(String, bool), PathBuf>,
    compress: Option<PathBuf>,
    classify: Option<PathBuf>,
}

impl Sources {
    fn read(config: &crate::config::Programs) -> Result<Self, FileError> {
        let lines = match &config.folder {
            Some(folder) => choices(folder)?,
            None => BTreeMap::new(),
        };
        let line = |classifies: bool, named: &Option<PathBuf>| {
            let all = lines.get(&(ALL.to_owned(), classifies));
            all.or(named.as_ref()).cloned()
        };
        let (compress, classify) = (line(false, &config.compress), line(true, &config.classify));
        let mut programs = BTreeMap::new();
        let chosen = lines
            .iter()
            .map(|((_, classifies), path)| (*classifies, Some(path.clone())));
        for (classifies, path) in
            chosen.chain([(false, compress.clone()), (true, classify.clone())])
        {
            let bytes = match (&path, classifies) {
                (Some(path), _) => files::read(path)?,
                (None, false) => patchwire_models::COMPRESS.to_vec(),
                (None, true) => patchwire_models::CLASSIFY.to_vec(),
            };
            programs.insert((classifies, path), bytes);
        }
        if let (true, Some(folder)) = (programs.len() > MAX_PROGRAMS, &config.folder) {
            let reason = format!(
                "chooses {} programs, at most {MAX_PROGRAMS} can be loaded",
                programs.len()
            );
            return Err(FileError::Content(folder.join(CAMERAS), reason));
        }
        Ok(Self {
            programs,
            lines,
            compress,
            classify,
        })
    }

    fn load(&self, config: &Config) -> Result<Programs, FileError> {
        let mut loaded = BTreeMap::new();
        for (key @ (classifies, path), bytes) in &self.programs {
            let task = if *classifies {
                Task::Classify
            } else {
                Task::Compress
            };
            let made = load(bytes, task, config).map_err(|reason| {
                let shipped = || PathBuf::from(format!("the shipped {task} program"));
                FileError::Content(path.clone().unwrap_or_else(shipped), reason)
            })?;
            loaded.insert(key.clone(), Arc::new(made));
        }
        let all = Choice {
            compress: Arc::clone(&loaded[&(false, self.compress.clone())]),
            classify: Arc::clone(&loaded[&(true, self.classify.clone())]),
        };
        let mut cameras = BTreeMap::new();
        for ((camera, classifies), path) in &self.lines {
            if camera == ALL {
                continue;
            }
            let choice: &mut Choice = cameras.entry(camera.clone()).or_insert(all.clone());
            let program = Arc::clone(&loaded[&(*classifies, Some(path.clone()))]);
            if *classifies {
                choice.classify = program;
            } else {
                choice.compress = program;
            }
        }
        Ok(Programs { all, cameras })
    }
}

/// Reads the file of choices; none are made where it is missing.
fn choices(folder: &Path) -> Result<BTreeMap<(String, bool), PathBuf>, FileError> {
    let path = folder.join(CAMERAS);
    let wrong = |reason| FileError::Content(path.clone(), reason);
    if !folder.is_dir() {
        return Err(FileError::Content(
            folder.to_owned(),
            "is not a folder".into(),
        ));
    }
    let bytes = match path.try_exists() {
        Ok(false) => Vec::new(),
        _ => files::read(&path)?,
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".into()))?;
    let mut choices = BTreeMap::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let choice = choice(line, folder).and_then(|(key, path)| {
            let before = choices.insert(key, path);
            before.map_or(Ok(()), |_| {
                Err("it chooses what a line before has chosen".into())
            })
        });
        choice.map_err(|why| wrong(format!("is wrong in line {}: {why}", index + 1)))?;
    }
    Ok(choices)
}

fn choice(line: &str, folder: &Path) -> Result<((String, bool), PathBuf), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [camera, task, name] = words[..] else {
        return Err("it is not of the form CAMERA TASK PROGRAM".into());
    };
    if camera != ALL {
        check_id("camera", camera).map_err(|error| error.to_string())?;
    }
    let classifies = match task {
        "compress" => false,
        "classify" => true,
        _ => {
            return Err(format!(
                "its task is {task:?}, allowed are compress and classify"
            ));
        }
    };
    check_id("program", name).map_err(|error| error.to_string())?;
    Ok((
        (camera.to_owned(), classifies),
        folder.join(format!("{name}.{ENDING}")),
    ))
}

/// Makes a program ready; the reason is the rest of a sentence that the file's name begins.
fn load(bytes: &[u8], task: Task, config: &Config) -> Result<Loaded, String> {
    let program = Program::from_bytes(bytes)
        .map_err(|error| format!("cannot be loaded: {}", one_line(&error)))?;
    if program.task() != task {
        return Err(format!("is for {}, not for {task}", program.task()));
    }
    for label in program.labels() {
        if !(1..=MAX_LABEL_TEXT).contains(&label.len()) {
            return Err(format!(
                "has the label {label:?}, which is not 1 to {MAX_LABEL_TEXT} bytes long"
            ));
        }
    }
    let rate = program
        .latent_bits()
        .map(|bits| rate(bits, bytes, config))
        .transpose()?;
    let emulator = Emulator::new(Arc::new(program));
    let patch = vec![0; nqe::PATCH * nqe::PATCH * 3];
    let warmed = emulator.run_patch(&patch);
    warmed.map_err(|error| format!("fails on a warm-up patch: {}", one_line(&error)))?;
    Ok(Loaded { emulator, rate })
}

/// The policy for a program's bits.
fn rate(bits: u32, bytes: &[u8], config: &Config) -> Result<Rate, String> {
    let shipped: &[u32] = if bytes == patchwire_models::COMPRESS {
        &patchwire_models::PREFIXES
    } else {
        &[]
    };
    let steps = config.rate.steps.as_deref().unwrap_or(shipped);
    Rate::new(config.rate.bits, steps, bits)
        .map_err(|error| format!("cannot be used: {}", one_line(&error)))
}
