//! A small disk of a service's own, which can be full: a tmpfs whose size is reduced to that of its contents.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};

/// Room of the disk while it is not full.
const SIZE: &str = "4g";
/// Tries to cut the disk while a service goes on writing to it.
const TRIES: u64 = 20;

/// A mounted disk; unmounted when dropped.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts a disk on `folder`, which is made. An error where mounting is not allowed.
    pub(crate) fn mount(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let options = format!("size={SIZE}");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) -> Result<()> {
        let mut last = None;
        for more in 0..TRIES {
            let kib = self.used_kib()? + 4 * more;
            match self.resize(&format!("{}k", kib.max(4))) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try")?)
    }

    /// Makes room again.
    pub(crate) fn free(&self) -> Result<()> {
        self.resize(SIZE)
    }

    fn resize(&self, size: &str) -> Result<()> {
        let options = format!("remount,size={size}");
        run(Command::new("mount")
            .args(["-o", &options])
            .arg(&self.folder))?;
        Ok(())
    }

    fn used_kib(&self) -> Result<u64> {
        let output = run(Command::new("df")
            .args(["-k", "--output=used"])
            .arg(&self.folder))?;
        let text = String::from_utf8(output.stdout)?;
        let used = text.lines().last().context("df prints a number")?;
        Ok(used.trim().parse()?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a service that is being killed may still have files open.
        let unmounted = run(Command::new("umount").arg("--lazy").arg(&self.folder));
        if let Err(error) = unmounted {
            println!("{} stays mounted: {error:#}", self.folder.display());
        }
    }
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", told.trim());
    Ok(output)
}
