//! The HTTP side: JSON API, images, live events, probes, metrics and the dashboard.

mod alarms;
mod app;
mod assets;
mod authentication;
mod compare;
mod decoder_info;
mod document;
mod error;
mod events;
mod fleet;
mod frame_json;
mod frames;
mod images;
mod latents;
mod probes;
mod query;
mod router;
mod session;
mod stats;
mod view_files;

pub(crate) use self::{
    app::App, authentication::Authentication, decoder_info::DecoderInfo, document::routes,
    router::serve,
};
