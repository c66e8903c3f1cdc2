//! The declaration of a service's metrics.

/// Declares the metrics of a service, one per line: field, type, name and help text; for a histogram also its buckets.
///
/// The struct gets a public field for each of them, whose documentation is the help text, and
/// - `http`, the HTTP requests by route ([`Http`](crate::metrics::Http)),
/// - `new(routes)`, which registers everything under a prefix, with the version of the binary,
/// - `encode()`, which gives all series in the OpenMetrics text format.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$meta:meta])*
        $visible:vis $name:ident as $prefix:literal {
            $($field:ident: $type:ty = $metric:literal, $help:literal $(, $buckets:expr)?;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone)]
        $visible struct $name {
            registry: std::sync::Arc<$crate::metrics::__Registry>,
            /// HTTP requests.
            pub http: $crate::metrics::Http,
            $(
                #[doc = $help]
                pub $field: $type,
            )+
        }

        impl $name {
            /// Registers everything; `routes` are the paths of the HTTP API.
            pub fn new(routes: impl IntoIterator<Item = String>) -> Self {
                let mut registry = $crate::metrics::registry();
                let r = registry.sub_registry_with_prefix($prefix);
                $crate::metrics::build(r, env!("CARGO_PKG_VERSION"));
                Self {
                    http: $crate::metrics::Http::register(r, routes),
                    $($field: $crate::metrics!(@register r, $metric, $help $(, $buckets)?),)+
                    registry: std::sync::Arc::new(registry),
                }
            }

            /// All series in the OpenMetrics text format.
            ///
            /// # Errors
            /// A metric that cannot be written.
            pub fn encode(&self) -> Result<String, std::fmt::Error> {
                $crate::metrics::text(&self.registry)
            }
        }
    };
    (@register $registry:ident, $metric:literal, $help:literal) => {
        $crate::metrics::Metric::register($registry, $metric, $help)
    };
    (@register $registry:ident, $metric:literal, $help:literal, $buckets:expr) => {
        $crate::metrics::histogram($registry, $metric, $help, $buckets)
    };
}
