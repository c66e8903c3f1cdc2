//! The sources of an edge node: files in a folder, and a camera's stream of motion JPEG.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::pictures::{FOLDER, Picture, STREAM};

/// Time between two files.
const FILE_EVERY: Duration = Duration::from_millis(900);
/// Time between two frames of the stream.
const FRAME_EVERY: Duration = Duration::from_millis(300);
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n";

/// A folder that fills, and a camera.
pub(crate) struct Feeds {
    seed: u64,
    folder: PathBuf,
    files: AtomicU64,
    camera: Arc<Camera>,
    task: JoinHandle<()>,
    /// Configuration of the edge node that fetches from both.
    pub(crate) config: PathBuf,
}

/// A camera that anyone may connect to.
struct Camera {
    seed: u64,
    served: AtomicU64,
    /// The next frame is cut, and the connection with it.
    breaks: AtomicBool,
    /// No more frames come.
    over: AtomicBool,
}

impl Feeds {
    /// Makes the folder in `place` and lets the camera listen.
    pub(crate) async fn start(seed: u64, place: &Path) -> Result<Self> {
        let folder = place.join("pictures");
        fs::create_dir_all(&folder)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/video.mjpeg", listener.local_addr()?);
        let config = place.join("edge.toml");
        let text = format!(
            "[[sources]]\ncamera = {FOLDER:?}\nfolder = {folder:?}\ntask = \"both\"\n\n\
             [[sources]]\ncamera = {STREAM:?}\nurl = {url:?}\nrate = 2.0\n"
        );
        fs::write(&config, text)?;
        let camera = Arc::new(Camera {
            seed,
            served: AtomicU64::default(),
            breaks: AtomicBool::default(),
            over: AtomicBool::default(),
        });
        let task = tokio::spawn(Arc::clone(&camera).listen(listener));
        Ok(Self {
            seed,
            folder,
            files: AtomicU64::default(),
            camera,
            task,
            config,
        })
    }

    /// Puts a file after the other into the folder until `end`.
    pub(crate) async fn fill(&self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            let index = self.files.load(Relaxed);
            let picture = Picture::of_folder(self.seed, index);
            let part = self.folder.join(".part");
            fs::write(&part, picture.body()?)?;
            let name = format!("{index:06}.{}", picture.form.ending());
            fs::rename(&part, self.folder.join(name))?;
            self.files.store(index + 1, Relaxed);
            sleep(FILE_EVERY).await;
        }
        self.camera.over.store(true, Relaxed);
        Ok(())
    }

    /// Files in the folder.
    pub(crate) fn count(&self) -> u64 {
        self.files.load(Relaxed)
    }

    /// The camera breaks off in the midst of a frame.
    pub(crate) fn break_off(&self) {
        self.camera.breaks.store(true, Relaxed);
    }

    /// The pictures in the folder.
    pub(crate) fn files(&self) -> Vec<Picture> {
        let files = 0..self.files.load(Relaxed);
        files
            .map(|index| Picture::of_folder(self.seed, index))
            .collect()
    }

    /// The pictures that the camera has sent or begun to send.
    pub(crate) fn served(&self) -> Vec<Picture> {
        let served = 0..self.camera.served.load(Relaxed);
        served
            .map(|index| Picture::of_stream(self.seed, index))
            .collect()
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Camera {
    async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((connection, _)) = listener.accept().await else {
                sleep(FRAME_EVERY).await;
                continue;
            };
            let camera = Arc::clone(&self);
            tokio::spawn(async move {
                // A client may disconnect.
                camera.serve(connection).await.ok();
            });
        }
    }

    async fn serve(&self, mut connection: TcpStream) -> io::Result<()> {
        // The request is short, and its content does not matter.
        if connection.read(&mut [0; 4096]).await? == 0 {
            return Ok(());
        }
        connection.write_all(HEAD).await?;
        while !self.over.load(Relaxed) {
            let index = self.served.fetch_add(1, Relaxed);
            let picture = Picture::of_stream(self.seed, index);
            let body = picture.body().map_err(io::Error::other)?;
            let length = body.len();
            let head =
                format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
            connection.write_all(head.as_bytes()).await?;
            if self.breaks.swap(false, Relaxed) {
                let mut rng = StdRng::seed_from_u64(index);
                let part = rng.random_range(1..length);
                return connection.write_all(&body[..part]).await;
            }
            connection.write_all(&body).await?;
            connection.write_all(b"\r\n").await?;
            sleep(FRAME_EVERY).await;
        }
        Ok(())
    }
}
