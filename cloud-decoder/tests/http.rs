//! The HTTP API: shapes, errors, caching, paging, probes and the dashboard's files.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use reqwest::StatusCode;
use serde_json::Value;
use support::{Cloud, frame, label_only, with_original};
use uuid::Uuid;

#[tokio::test]
async fn errors_are_json_with_one_sentence() {
    let cloud = Cloud::start().await;
    let absent = format!("/api/v1/frames/{}", Uuid::now_v7());
    let cases = [
        ("/api/v1/frames?limit=0", 400, "limit is 0"),
        ("/api/v1/frames?limit=many", 400, "limit"),
        ("/api/v1/frames?colour=red", 400, "colour"),
        ("/api/v1/frames?camera=a%20b", 400, "camera"),
        ("/api/v1/frames?before=yesterday", 400, "UUID"),
        ("/api/v1/frames/1", 400, "UUID"),
        ("/api/v1/frames/%FF", 400, "UUID"),
        (&absent, 404, "no frame"),
        ("/api/v1/series", 404, "/api/v1/series"),
        ("/nowhere", 404, "/nowhere"),
        ("/../Cargo.toml", 404, "nothing"),
    ];
    for (path, status, part) in cases {
        let response = cloud.http(path).await;
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().await.expect(path);
        let message = body["error"].as_str().expect(path);
        assert!(message.contains(part), "{path}: {message}");
    }
    for path in ["/api/v1/frames", "/"] {
        let post = testing::client().post(cloud.url(path)).send().await;
        let post = post.expect("answer");
        assert_eq!(post.status(), 405, "{path}");
        let body: Value = post.json().await.expect("JSON");
        assert!(body["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn frames_page_by_key_and_filter_by_camera() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    for n in 0..5 {
        let camera = if n == 2 { "yard" } else { "gate" };
        node.accepted(frame(camera, 40, 40)).await;
    }
    let first = cloud.json("/api/v1/frames?limit=3&camera=gate").await;
    let next = first["next"].as_str().expect("next");
    let path = format!("/api/v1/frames?limit=3&camera=gate&before={next}");
    let second = cloud.json(&path).await;
    assert_eq!(first["frames"].as_array().expect("frames").len(), 3);
    assert_eq!(second["frames"].as_array().expect("frames").len(), 1);
    assert!(second["next"].is_null());
    assert_ne!(first["frames"][2]["id"], second["frames"][0]["id"]);
}

#[tokio::test]
async fn images_are_cached_for_good() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let id = node.accepted(frame("gate", 64, 64)).await;
    cloud.until(id, "decoded").await;
    let path = format!("/api/v1/frames/{id}/reconstruction.png");
    let response = cloud.http(&path).await;
    let headers = response.headers();
    assert!(
        headers["cache-control"]
            .to_str()
            .expect("text")
            .contains("immutable")
    );
    let again = testing::client()
        .get(cloud.url(&path))
        .header("if-none-match", &headers["etag"])
        .send()
        .await
        .expect("answer");
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert!(again.bytes().await.expect("body").is_empty());
}

#[tokio::test]
async fn one_of_the_embedded_decoders_is_chosen() {
    let embedded = [
        (false, patchwire_models::DECODER),
        (true, patchwire_models::FAST_DECODER),
    ];
    for (fast, bytes) in embedded {
        let choose = |config: &mut cloud_decoder::Config| {
            (config.decoder, config.decode.fast) = (None, fast);
        };
        let cloud = Cloud::start_with(choose).await;
        let decoder = purenet::Decoder::from_safetensors(bytes).expect("embedded decoder");
        let chosen = &cloud.json("/api/v1/summary").await["decoder"];
        assert_eq!(chosen["parameters"], decoder.parameters(), "fast: {fast}");
        assert_eq!(chosen["program_id"], hex::encode(decoder.program()));
    }
}

#[tokio::test]
async fn cameras_summary_and_history_add_up() {
    let cloud = Cloud::start().await;
    let mut node = cloud.node().await;
    let mut last = Uuid::nil();
    for _ in 0..3 {
        last = node.accepted(with_original(frame("gate", 192, 192))).await;
        cloud.until(last, "decoded").await;
    }
    node.accepted(label_only("door")).await;

    let cameras = cloud.json("/api/v1/cameras").await;
    let gate = &cameras["cameras"][1];
    assert_eq!(gate["camera"], "gate");
    assert_eq!((&gate["frames"], &gate["decoded"]), (&3.into(), &3.into()));
    assert_eq!(gate["last_frame"], last.to_string());
    assert_eq!(gate["last_decoded"], last.to_string());
    assert_eq!(gate["live"], true);
    let mean = gate["mean_psnr_db"].as_f64().expect("mean");
    let recent = gate["recent_psnr_db"].as_f64().expect("recent");
    assert!((mean - recent).abs() < 1e-9);
    assert_eq!(cameras["cameras"][0]["labelled"], 1);
    assert!(cameras["cameras"][0]["last_decoded"].is_null());

    let summary = cloud.json("/api/v1/summary").await;
    assert_eq!(summary["frames"], 4);
    assert_eq!(summary["cameras_live"], 2);
    assert_eq!(summary["traffic"]["frames"], 4);
    let bpp = summary["mean_bpp"].as_f64().expect("bpp");
    assert!((bpp - 16.0 / 1024.0).abs() < 1e-9, "{bpp}");

    let history = cloud.json("/api/v1/history?camera=gate").await;
    let line = &history["lines"][0];
    assert_eq!(line["name"], "gate");
    for metric in [
        "psnr_db",
        "ssim",
        "ms_ssim",
        "seam_ratio",
        "bpp",
        "latent_ones",
        "encode_ms",
        "decode_ms",
    ] {
        let values = line[metric].as_array().expect(metric);
        assert!(values.iter().any(Value::is_number), "{metric}: {values:?}");
    }
}

#[tokio::test]
async fn probes_metrics_and_dashboard_are_served() {
    let cloud = Cloud::start().await;
    assert_eq!(cloud.http("/livez").await.status(), 200);
    let metrics = cloud.http("/metrics").await.text().await.expect("text");
    for name in [
        "cloud_decoder_frames_total{outcome=\"rejected\"} 0",
        "cloud_decoder_queued_frames 0",
        "cloud_decoder_decode_seconds_count 0",
        "cloud_decoder_psnr_db_count 0",
    ] {
        assert!(metrics.contains(name), "{name} is not in:\n{metrics}");
    }
    let page = cloud.http("/").await;
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(policy.starts_with("default-src 'self'"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let html = page.text().await.expect("text");
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "an asset from elsewhere"
    );
    // Every file that the page names exists.
    let named = html.split(['"', '\'']).filter(|part| {
        let kinds = [".js", ".css", ".svg", ".woff2"];
        kinds.iter().any(|kind| part.ends_with(kind))
    });
    let mut files = 0;
    for path in named {
        let path = format!("/{path}");
        assert_eq!(cloud.http(&path).await.status(), 200, "{path}");
        files += 1;
    }
    assert!(files >= 2, "{html}");
}

/// A proxy may put a prefix before every address, so none begins at the root.
#[tokio::test]
async fn no_file_of_the_dashboard_names_an_address_from_the_root() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let cloud = Cloud::start().await;
    let mut texts = Vec::new();
    for folder in ["", "lib", "views", "viewer"] {
        for file in std::fs::read_dir(web.join(folder)).expect("the dashboard") {
            let path = file.expect("an entry").path();
            if path.is_file() {
                let text = std::fs::read_to_string(&path).expect("text");
                texts.push((path.display().to_string(), text));
            }
        }
    }
    for path in ["/api/docs", "/api/docs/page.css"] {
        let text = cloud.http(path).await.text().await.expect("text");
        texts.push((path.to_owned(), text));
    }
    assert!(texts.len() > 20);
    for (name, text) in texts {
        for line in text.lines() {
            let rooted = ["\"/", "'/", "`/", "url(/"].iter().find(|begin| {
                let mut after = line.split(**begin).skip(1);
                after.any(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '$'))
            });
            assert_eq!(rooted, None, "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn a_slash_and_a_parameter_against_caches_do_no_harm() {
    let cloud = Cloud::start().await;
    for path in [
        "/api/v1/frames/?limit=3&_=1720000000",
        "/api/v1/summary/",
        "/api/v1/cameras?_=1",
        "/livez/?_",
        "/?_=1",
        "/style.css?_=1",
    ] {
        assert_eq!(cloud.http(path).await.status(), 200, "{path}");
    }
    // A page names its files relative to itself, so it has one address only.
    let client = reqwest::Client::builder().tls_certs_only([]);
    let client = client.redirect(reqwest::redirect::Policy::none());
    let client = client.build().expect("client");
    for (path, location) in [
        ("/login.html/", "../login.html"),
        ("/api/docs/", "../docs"),
        ("/vendor/uPlot.min.css/", "../uPlot.min.css"),
    ] {
        let answer = client.get(cloud.url(path)).send().await.expect("HTTP");
        assert_eq!(answer.status(), 308, "{path}");
        assert_eq!(answer.headers()["location"], location, "{path}");
        assert_eq!(cloud.http(path).await.status(), 200, "{path}");
    }
    assert_eq!(cloud.http("/api/v1/frames?__=1").await.status(), 400);
}

/// A browser requests unlisted modules only after it has read the modules that import them.
#[tokio::test]
async fn the_page_and_each_view_name_every_module_that_they_need() {
    let cloud = Cloud::start().await;
    let text = async |path: &str| {
        let response = cloud.http(path).await;
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.expect("text")
    };
    let needed = async |path: &str| {
        let mut needed = BTreeSet::new();
        let mut unread = vec![path.to_owned()];
        while let Some(path) = unread.pop() {
            if needed.contains(&path) {
                continue;
            }
            let module = text(&path).await;
            let imported = module.lines().filter(|line| line.starts_with("import "));
            let base = reqwest::Url::parse("http://cloud").and_then(|url| url.join(&path));
            let base = base.expect("an address");
            let imported = imported.filter_map(|line| line.split('"').nth(1));
            unread.extend(imported.map(|name| base.join(name).expect("a path").path().to_owned()));
            needed.insert(path);
        }
        needed
    };
    let page = text("/").await;
    let page: BTreeSet<_> = page
        .split('<')
        .filter(|tag| tag.contains("rel=\"modulepreload\"") || tag.contains("type=\"module\""))
        .flat_map(|tag| tag.split('"'))
        .filter(|part| part.ends_with(".js"))
        .map(|part| format!("/{part}"))
        .collect();
    assert_eq!(page, needed("/app.js").await);

    let views = text("/needs.js").await;
    let views = views.strip_prefix("export default ").expect("a module");
    let views: BTreeMap<String, Vec<String>> =
        serde_json::from_str(views.trim_end().trim_end_matches(';')).expect("JSON");
    for (view, files) in &views {
        for file in files {
            text(&format!("/{file}")).await;
        }
        assert!(
            files[0].ends_with(&format!("/{view}.js")),
            "{view}: {files:?}"
        );
        let modules = files.iter().filter(|file| file.ends_with(".js"));
        let named: BTreeSet<_> = modules.map(|file| format!("/{file}")).collect();
        let needed = needed(&format!("/{}", files[0])).await;
        assert_eq!(named, &needed - &page, "{view}");
    }
    let styles = |view: &str| {
        views[view]
            .iter()
            .filter(|file| file.ends_with(".css"))
            .count()
    };
    assert_eq!(views.len(), 5, "{views:?}");
    assert_eq!(
        (styles("viewer"), styles("quality"), styles("fleet")),
        (1, 1, 0)
    );
}
