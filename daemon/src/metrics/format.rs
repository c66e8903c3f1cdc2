//! The text format by the scraper's `Accept`: OpenMetrics if it prefers that, otherwise the older format of Prometheus.

use axum::{
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT, CONTENT_TYPE, VARY},
    },
    response::{IntoResponse as _, Response},
};

/// Media type, and the versions of it that are compatible with ours.
const OPEN: (&str, &[&str]) = ("application/openmetrics-text", &["1.0.0", "0.0.1"]);
const CLASSIC: (&str, &[&str]) = ("text/plain", &["0.0.4"]);
const OPEN_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer to a request with these headers, from metrics in OpenMetrics text.
pub fn answer(headers: &HeaderMap, openmetrics: String) -> Response {
    let (media_type, text) = match wants_open(headers) {
        true => (OPEN_TYPE, openmetrics),
        false => (CLASSIC_TYPE, classic(&openmetrics)),
    };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn wants_open(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect::<Vec<_>>();
    let quality = |of| Range::best(&ranges, of);
    quality(OPEN) > quality(CLASSIC)
}

/// A media range of `Accept`, with its quality.
struct Range {
    media: String,
    version: Option<String>,
    quality: f32,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().filter(|media| media.contains('/'))?;
        let mut range = Self {
            media: media.to_ascii_lowercase(),
            version: None,
            quality: 1.0,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match &*name.trim().to_ascii_lowercase() {
                "q" => range.quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
                "version" => range.version = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(range)
    }

    /// How precisely the range names a media type, if it does.
    fn precision(&self, (media, versions): (&str, &[&str])) -> Option<u8> {
        let group = media.split('/').next().unwrap_or_default();
        match &self.version {
            _ if self.media == "*/*" => Some(0),
            _ if self.media.strip_suffix("/*") == Some(group) => Some(1),
            _ if self.media != media => None,
            None => Some(2),
            Some(version) => versions.contains(&version.as_str()).then_some(3),
        }
    }

    /// The quality of a media type, by the range that names it most precisely.
    fn best(ranges: &[Self], of: (&str, &[&str])) -> f32 {
        let named = ranges
            .iter()
            .filter_map(|range| Some((range.precision(of)?, range.quality)));
        let best = named.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        best.map_or(0.0, |(_, quality)| quality)
    }
}

/// The metrics in the text format of Prometheus, which names families differently and has two types fewer.
fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = type_of(line) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            if let Some((_, help)) = help.take() {
                text += &format!("# HELP {name}{suffix} {help}\n");
            }
            text += &format!("# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with("# ") {
            text += line;
            text.push('\n');
        }
    }
    text
}

fn type_of(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}
