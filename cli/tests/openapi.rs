//! The OpenAPI documents of both services are golden files (`UPDATE_GOLDEN=1` rewrites them), and what they say is so.

mod common;
mod services;

use std::{fs, path::Path, time::Duration};

use serde_json::Value;
use services::Service;

async fn get(service: &Service, path: &str, accept: &str) -> reqwest::Response {
    let url = format!("http://{}{path}", service.http);
    let request = testing::client().get(url).header("accept", accept);
    let answer = request.send().await;
    let answer = answer.expect("the service answers");
    assert_eq!(answer.status(), 200, "{path}");
    answer
}

/// Compares with the golden file, and gives the document.
async fn document(service: &Service, base: &str, name: &str) -> Value {
    let served = get(service, &format!("{base}/openapi.json"), "*/*").await;
    let served = served.text().await.expect("a text");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &served).expect("golden file can be written");
    }
    let expected = fs::read_to_string(&golden).expect("golden file is there");
    assert!(
        served == expected,
        "the API of {name} changed; UPDATE_GOLDEN=1 accepts it"
    );
    serde_json::from_str(&served).expect("JSON")
}

/// Every operation without parameters in its path answers as it says, and every reference leads somewhere.
async fn is_so(service: &Service, document: &Value) {
    let paths = document["paths"].as_object().expect("paths");
    assert!(!paths.is_empty());
    for (path, operations) in paths {
        for (method, told) in operations.as_object().expect("operations") {
            assert!(told["summary"].is_string(), "{method} {path} says nothing");
            let endless = path.ends_with("/events");
            let required = told["parameters"].as_array().is_some_and(|parameters| {
                parameters
                    .iter()
                    .any(|parameter| parameter["required"] == true)
            });
            if method != "get" || endless || required {
                continue;
            }
            let said = told["responses"]["200"]["content"].as_object();
            // Of several types the one that is asked for.
            for said in said.expect("a type").keys() {
                let answer = get(service, path, said).await;
                let kind = answer.headers()["content-type"].to_str().expect("text");
                assert!(
                    kind.starts_with(said.as_str()),
                    "{path}: {kind}, not {said}"
                );
                if said == "application/json" {
                    let body: Value = answer.json().await.expect("JSON");
                    let schema = &told["responses"]["200"]["content"][said]["schema"];
                    fits(document, schema, &body, path);
                }
            }
        }
    }
    for reference in references(document) {
        let pointer = reference.strip_prefix('#').expect("a local reference");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

/// The members of an object are those of its schema.
fn fits(document: &Value, schema: &Value, body: &Value, path: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).expect("a schema"),
        None => schema,
    };
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let body = body
        .as_object()
        .unwrap_or_else(|| panic!("{path}: no object"));
    for name in body.keys() {
        let told = properties.get(name);
        let told = told.unwrap_or_else(|| panic!("{path}: {name} is not in the document"));
        fits(document, told, &body[name], path);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(body.contains_key(name), "{path}: {name} is missing");
    }
}

fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(reference)) => vec![reference.as_str()],
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The page and what it loads are served here, and nothing comes from elsewhere.
async fn page_is_whole(service: &Service, base: &str) {
    let page = get(service, &format!("{base}/docs"), "*/*").await;
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(policy.starts_with("default-src 'self'"), "{policy}");
    let page = page.text().await.expect("a text");
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "{page}"
    );
    // Relative to the page, so that a proxy may put a prefix before all of them.
    let links = page.split('"').filter(|part| {
        let kinds = [".css", ".js", ".json"];
        kinds.iter().any(|kind| part.ends_with(kind))
    });
    let links: Vec<_> = links.collect();
    assert!(links.len() >= 3, "{page}");
    for link in links {
        get(service, &format!("{base}/{link}"), "*/*").await;
    }
}

#[tokio::test]
async fn both_documents_are_as_agreed_and_true() {
    let folder = tempfile::tempdir().expect("a folder");
    let cloud = Service::cloud(&folder.path().join("data"), "127.0.0.1:0").await;
    let edge = Service::edge(&folder.path().join("spool.sqlite"), &cloud.grpc).await;
    testing::eventually("the cloud is ready", Duration::from_secs(60), async || {
        let url = format!("http://{}/readyz", cloud.http);
        let answer = testing::client().get(url).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    for (service, base, name) in [
        (&edge, "", "edge-openapi"),
        (&cloud, "/api", "cloud-openapi"),
    ] {
        let document = document(service, base, name).await;
        is_so(service, &document).await;
        page_is_whole(service, base).await;
    }
}
