//! Services in roles over a real PostgreSQL, NATS and S3 server: decode and ingest processes are killed one after the
//! other while frames come in, and each frame is there once. `.ci/engines` installs what it needs.

mod common;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use services::Service;
use testing::{
    engines::{Nats, Postgres, S3, installed},
    eventually,
    proxy::Proxy,
};
use tokio::task::JoinHandle;

/// For all frames, after the last kill, on a busy machine without optimized services.
const PATIENCE: Duration = Duration::from_secs(240);
const FRAMES: u32 = 200;

/// Addresses of the engines, as variables of a cloud decoder.
struct Site {
    variables: Vec<(String, String)>,
}

impl Site {
    async fn start(&self, role: &str) -> Service {
        let mut settings = vec![
            ("CLOUD_DECODER_ROLE", role),
            ("CLOUD_DECODER_HTTP__LISTEN", "127.0.0.1:0"),
            ("CLOUD_DECODER_GRPC__LISTEN", "127.0.0.1:0"),
            ("CLOUD_DECODER_LOG__FILTER", "error"),
        ];
        let own = self.variables.iter();
        settings.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
        Service::start("cloud-decoder", &settings, Stdio::inherit()).await
    }
}

/// Has the balancer pass connections on to those ingest processes that there are.
fn send_to(balancer: &Proxy, ingest: &[Option<Service>]) {
    let addresses = ingest.iter().flatten().map(|service| &service.grpc);
    let addresses = addresses.map(|address| address.parse().expect("an address"));
    balancer.set_targets(addresses.collect());
}

/// A small picture, each another.
fn picture(number: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        let shade = |by: u32| (x * (number % 7 + 1) + y * (number % 5) + number * by) as u8;
        image::Rgb([shade(3), shade(5), shade(7)])
    };
    let mut png = Cursor::new(Vec::new());
    image::RgbImage::from_fn(64, 48, pixel)
        .write_to(&mut png, image::ImageFormat::Png)
        .expect("PNG");
    png.into_inner()
}

/// Posts all frames, some every second, and gives the ids of those accepted.
async fn post_all(edge: String) -> BTreeSet<String> {
    let client = testing::client();
    let mut ids = BTreeSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for number in 0..FRAMES {
        ticks.tick().await;
        let url = format!("http://{edge}/v1/frames?camera=gate-{}", number % 4);
        let response = client
            .post(url)
            .header("content-type", "image/png")
            .body(picture(number))
            .send()
            .await
            .expect("the edge node answers");
        assert_eq!(response.status(), 202, "frame {number}");
        let answer: Value = response.json().await.expect("an answer in JSON");
        let id = answer["frame_id"].as_str().expect("a frame id").to_owned();
        ids.insert(id);
    }
    ids
}

/// Takes down which frames a dashboard is told of as decoded.
async fn watch(web: &Service) -> (JoinHandle<()>, Arc<Mutex<BTreeSet<String>>>) {
    let events = testing::client()
        .get(format!("http://{}/api/v1/events", web.http))
        .send()
        .await
        .expect("events");
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let noted = seen.clone();
    let task = tokio::spawn(async move {
        let (mut events, mut text) = (events, String::new());
        while let Ok(Some(piece)) = events.chunk().await {
            text += &String::from_utf8_lossy(&piece);
            while let Some((line, rest)) = text.split_once('\n') {
                let event = line.strip_prefix("data: ").unwrap_or_default();
                let frame: Value = serde_json::from_str(event).unwrap_or_default();
                if frame["state"] == "decoded" {
                    let id = frame["id"].as_str().expect("an id").to_owned();
                    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.insert(id);
                }
                text = rest.to_owned();
            }
        }
    });
    (task, seen)
}

/// All records, page by page.
async fn records(web: &Service) -> Vec<Value> {
    let mut records = Vec::new();
    let mut before = String::new();
    loop {
        let page = web.get(&format!("/api/v1/frames?limit=100{before}")).await;
        records.extend(page["frames"].as_array().expect("frames").clone());
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return records,
        }
    }
}

async fn decoded(web: &Service) -> u64 {
    let summary = web.get("/api/v1/summary").await;
    summary["decoded"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_and_repeat_nothing() {
    if !installed() {
        return;
    }
    let (mut postgres, nats, mut s3) = tokio::join!(Postgres::start(), Nats::start(), S3::start());
    let mut variables = BTreeMap::from([
        ("CLOUD_DECODER_CATALOGUE__URL", postgres.database()),
        ("CLOUD_DECODER_QUEUE__URL", nats.url()),
        ("CLOUD_DECODER_OBJECTS__URL", s3.bucket().await),
        ("CLOUD_DECODER_OBJECTS__ENDPOINT", s3.endpoint.clone()),
    ]);
    variables.extend(S3::variables().map(|(name, value)| (name, value.to_owned())));
    let variables = variables.into_iter();
    let site = Site {
        variables: variables.map(|(name, v)| (name.to_owned(), v)).collect(),
    };
    // All at once, on an empty database.
    let (web, other_web, i0, i1, d0, d1) = tokio::join!(
        site.start("web"),
        site.start("web"),
        site.start("ingest"),
        site.start("ingest"),
        site.start("decode"),
        site.start("decode"),
    );
    let mut ingest = [Some(i0), Some(i1)];
    let mut decode = [Some(d0), Some(d1)];
    let balancer = Proxy::start(1).await.expect("a port");
    send_to(&balancer, &ingest);
    let folder = tempfile::tempdir().expect("temporary folder");
    let edge = Service::edge(
        &folder.path().join("spool.sqlite"),
        &balancer.address.to_string(),
    )
    .await;
    let (watching, seen) = watch(&other_web).await;

    let posting = tokio::spawn(post_all(edge.http.clone()));
    for turn in 0..4 {
        let reached = decoded(&web).await + 20;
        eventually("frames are decoded", PATIENCE, async || {
            (decoded(&web).await >= reached).then_some(())
        })
        .await;
        let (processes, role) = match turn % 2 {
            0 => (&mut decode, "decode"),
            _ => (&mut ingest, "ingest"),
        };
        let process = &mut processes[turn / 2];
        process.take().expect("it runs").kill().await;
        // The others go on alone for a while, and nobody tells the balancer.
        let reached = decoded(&web).await + 10;
        eventually("the others go on", PATIENCE, async || {
            (decoded(&web).await >= reached).then_some(())
        })
        .await;
        *process = Some(site.start(role).await);
        send_to(&balancer, &ingest);
    }
    let sent = posting.await.expect("all were posted");

    let records = eventually("every frame is decoded", PATIENCE, async || {
        let done = decoded(&web).await >= sent.len() as u64;
        match done {
            true => Some(records(&web).await),
            false => None,
        }
    })
    .await;
    let there: Vec<&str> = records.iter().filter_map(|r| r["id"].as_str()).collect();
    assert_eq!(there.len(), sent.len(), "not each frame exactly once");
    let unique: BTreeSet<_> = there.iter().map(|&id| id.to_owned()).collect();
    assert_eq!(unique, sent);
    for record in &records {
        assert_eq!(record["state"], "decoded", "{record}");
        assert!(record["quality"]["psnr_db"].is_f64(), "{record}");
    }
    let image = records[0]["images"]["reconstruction"].as_str();
    let url = format!("http://{}{}", other_web.http, image.expect("a picture"));
    let png = testing::client().get(url).send().await.expect("a picture");
    let png = png.bytes().await.expect("a picture");
    let png = image::ImageReader::with_format(Cursor::new(&png), image::ImageFormat::Png);
    assert_eq!(png.into_dimensions().expect("PNG"), (64, 48));

    // Whoever watches another replica was told of each, and sees the edge node.
    eventually("the dashboard is told of all", PATIENCE, async || {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        (*seen == sent).then_some(())
    })
    .await;
    watching.abort();
    eventually("the dashboard sees the node", PATIENCE, async || {
        let nodes = other_web.get("/api/v1/nodes").await;
        (nodes["nodes"][0]["connected"] == true).then_some(())
    })
    .await;
}
