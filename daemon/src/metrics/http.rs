//! Rate, errors and duration of HTTP requests, by route.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::buckets::LONG;

/// The route of requests that match no route.
const OTHER: &str = "other";
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Metrics of HTTP requests. Clones share the same values.
#[derive(Clone, Debug)]
pub struct Http {
    routes: Vec<String>,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

impl Http {
    /// Registers `http_requests_total` and `http_request_seconds` for these routes, as the router spells them.
    pub fn register(registry: &mut Registry, routes: impl IntoIterator<Item = String>) -> Self {
        let requests = Family::<Answered, Counter>::default();
        let seconds = Family::new_with_constructor((|| Histogram::new(LONG)) as fn() -> _);
        let routes: Vec<_> = routes.into_iter().collect();
        for route in routes.iter().map(String::as_str).chain([OTHER]) {
            for status in CLASSES {
                let route = route.to_owned();
                drop(requests.get_or_create(&Answered { route, status }));
            }
            let route = route.to_owned();
            drop(seconds.get_or_create(&Route { route }));
        }
        let help = "HTTP requests answered";
        registry.register("http_requests", help, requests.clone());
        let help = "Time from a request's head to the head of its answer";
        registry.register_with_unit("http_request", help, Unit::Seconds, seconds.clone());
        Self {
            routes,
            requests,
            seconds,
        }
    }
}

/// Middleware that counts each request.
pub async fn observe(State(http): State<Http>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let known = |path: &&str| http.routes.iter().any(|route| route == path);
    let route = matched.map(MatchedPath::as_str).filter(known);
    let route = route.unwrap_or(OTHER).to_owned();
    let response = next.run(request).await;
    let class = usize::from(response.status().as_u16() / 100).clamp(2, 5);
    let status = CLASSES[class - 2];
    let answered = Answered {
        route: route.clone(),
        status,
    };
    http.requests.get_or_create(&answered).inc();
    let seconds = start.elapsed().as_secs_f64();
    http.seconds
        .get_or_create(&Route { route })
        .observe(seconds);
    response
}
