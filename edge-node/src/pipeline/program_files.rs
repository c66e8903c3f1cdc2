//! Program files, and the file that says which camera has which program.
//!
//! # The file `cameras`
//!
//! The folder `programs.folder` has programs (`NAME.nqe`) and a file `cameras` with one choice per line,
//! `CAMERA TASK NAME`, for example `gate compress night`. The camera `*` stands for all cameras without a line. Empty
//! lines and lines that begin with `#` are skipped. Cameras without a line use `programs.compress` and
//! `programs.classify`, or else the shipped programs.
//!
//! The latents of a program in a file `NAME.nqe` travel coded if its prior is beside it, in a file `NAME.pwp`. The
//! prior of the shipped program is built in.
//!
//! All files are read again when they change. A frame in progress is finished by the programs that it began with, and
//! every frame names its program, so a switch loses no frame.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use daemon::files::{self, FileError, Live};
use latent::prior::Prior;
use nqe::Task;
use patchwire_proto::limits::{MAX_PROGRAMS, check_id};

use super::programs::{Choice, Loaded, Programs};
use crate::config;

/// Name of the file of choices.
const CAMERAS: &str = "cameras";
/// Extension of program files.
const EXTENSION: &str = "nqe";
/// Extension of a program's prior.
const PRIOR_EXTENSION: &str = "pwp";
/// The camera that stands for all cameras without a line.
const ALL: &str = "*";

/// A task and the file of its program; without a file, the shipped program.
type Key = (Task, Option<PathBuf>);

/// Loads the configured programs, and loads them again when their files change.
///
/// # Errors
/// A program that cannot be read, is not valid, is over budget, is for the other task or fails on a warm-up patch; a
/// prior that cannot be read, is not valid or is of another program.
pub(crate) fn follow_programs(
    config: &config::Programs,
    rate: &config::Rate,
) -> Result<Live<Programs>, FileError> {
    let named = [&config.compress, &config.classify, &config.folder];
    let names = named.into_iter().flatten();
    let names: Vec<_> = names.map(|path| path.display().to_string()).collect();
    let (config, rate) = (config.clone(), rate.clone());
    Live::follow(
        names.join(", "),
        move || Contents::read(&config),
        move |contents| contents.load(&rate),
    )
}

/// Contents of the files.
#[derive(PartialEq)]
struct Contents {
    programs: BTreeMap<Key, Vec<u8>>,
    /// Priors by their files, each with its program.
    priors: BTreeMap<PathBuf, (Key, Vec<u8>)>,
    /// File of the program that a line chooses, by camera and task.
    lines: BTreeMap<(String, Task), PathBuf>,
    /// Programs of cameras without a line.
    compress: Key,
    classify: Key,
}

impl Contents {
    fn read(config: &config::Programs) -> Result<Self, FileError> {
        let lines = match &config.folder {
            Some(folder) => read_choices(folder)?,
            None => BTreeMap::new(),
        };
        let default = |task, named: &Option<PathBuf>| {
            let all = lines.get(&(ALL.to_owned(), task));
            (task, all.or(named.as_ref()).cloned())
        };
        let compress = default(Task::Compress, &config.compress);
        let classify = default(Task::Classify, &config.classify);
        let chosen = lines.iter();
        let chosen = chosen.map(|((_, task), path)| (*task, Some(path.clone())));
        let (mut programs, mut priors) = (BTreeMap::new(), BTreeMap::new());
        for key in chosen.chain([compress.clone(), classify.clone()]) {
            let bytes = match &key {
                (task, Some(path)) => {
                    let prior = path.with_extension(PRIOR_EXTENSION);
                    if *task == Task::Compress && prior.exists() {
                        priors.insert(prior.clone(), (key.clone(), files::read(&prior)?));
                    }
                    files::read(path)?
                }
                (Task::Compress, None) => patchwire_models::COMPRESS.to_vec(),
                (Task::Classify, None) => patchwire_models::CLASSIFY.to_vec(),
            };
            programs.insert(key, bytes);
        }
        if let (true, Some(folder)) = (programs.len() > MAX_PROGRAMS, &config.folder) {
            let count = programs.len();
            let reason = format!("chooses {count} programs, at most {MAX_PROGRAMS} can be loaded");
            return Err(FileError::Content(folder.join(CAMERAS), reason));
        }
        Ok(Self {
            programs,
            priors,
            lines,
            compress,
            classify,
        })
    }

    fn load(&self, rate: &config::Rate) -> Result<Programs, FileError> {
        let mut loaded = BTreeMap::new();
        for (key @ (task, path), bytes) in &self.programs {
            let program = Loaded::new(bytes, *task, rate).map_err(|reason| {
                let shipped = || PathBuf::from(format!("the shipped {task} program"));
                FileError::Content(path.clone().unwrap_or_else(shipped), reason)
            })?;
            loaded.insert(key.clone(), Arc::new(program));
        }
        let all = Choice {
            compress: Arc::clone(&loaded[&self.compress]),
            classify: Arc::clone(&loaded[&self.classify]),
        };
        let mut cameras = BTreeMap::new();
        for ((camera, task), path) in self.lines.iter().filter(|((c, _), _)| c != ALL) {
            let choice: &mut Choice = cameras.entry(camera.clone()).or_insert(all.clone());
            let program = Arc::clone(&loaded[&(*task, Some(path.clone()))]);
            match task {
                Task::Compress => choice.compress = program,
                Task::Classify => choice.classify = program,
            }
        }
        Ok(Programs::new(all, cameras, self.load_priors(&loaded)?))
    }

    /// The shipped prior, which frames in the spool may still need, and those of the files.
    fn load_priors(
        &self,
        loaded: &BTreeMap<Key, Arc<Loaded>>,
    ) -> Result<Vec<Arc<Prior>>, FileError> {
        let load = |bytes: &[u8]| {
            let prior = Prior::from_bytes(bytes);
            prior.map_err(|error| format!("cannot be loaded: {error}"))
        };
        let shipped = load(patchwire_models::PRIOR);
        let shipped = shipped.map_err(|why| FileError::Content("the shipped prior".into(), why))?;
        let mut priors = vec![Arc::new(shipped)];
        for (path, (key, bytes)) in &self.priors {
            let prior = load(bytes).and_then(|prior| match *prior.program() == loaded[key].id() {
                true => Ok(prior),
                false => Err("is of another program than the one beside it".into()),
            });
            let prior = prior.map_err(|why| FileError::Content(path.clone(), why))?;
            priors.push(Arc::new(prior));
        }
        Ok(priors)
    }
}

/// Reads the file of choices; a missing file has none.
fn read_choices(folder: &Path) -> Result<BTreeMap<(String, Task), PathBuf>, FileError> {
    let path = folder.join(CAMERAS);
    let wrong = |reason| FileError::Content(path.clone(), reason);
    if !folder.is_dir() {
        let reason = "is not a folder".into();
        return Err(FileError::Content(folder.to_owned(), reason));
    }
    let bytes = match path.try_exists() {
        Ok(false) => Vec::new(),
        _ => files::read(&path)?,
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".into()))?;
    let mut choices = BTreeMap::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let choice = parse_choice(line, folder).and_then(|(key, path)| {
            let before = choices.insert(key, path);
            before.map_or(Ok(()), |_| Err("an earlier line has chosen already".into()))
        });
        choice.map_err(|why| wrong(format!("is wrong in line {}: {why}", index + 1)))?;
    }
    Ok(choices)
}

fn parse_choice(line: &str, folder: &Path) -> Result<((String, Task), PathBuf), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [camera, task, name] = words[..] else {
        return Err("it is not of the form CAMERA TASK PROGRAM".into());
    };
    if camera != ALL {
        check_id("camera", camera).map_err(|error| error.to_string())?;
    }
    let task = match task {
        "compress" => Task::Compress,
        "classify" => Task::Classify,
        _ => {
            let allowed = "allowed are compress and classify";
            return Err(format!("its task is {task:?}, {allowed}"));
        }
    };
    check_id("program", name).map_err(|error| error.to_string())?;
    let path = folder.join(format!("{name}.{EXTENSION}"));
    Ok(((camera.to_owned(), task), path))
}
