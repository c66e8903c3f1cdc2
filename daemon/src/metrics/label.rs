//! Labels whose values are known.

use std::{fmt, hash::Hash};

use prometheus_client::encoding::EncodeLabelSet;

/// A label whose values are known; [`label!`](crate::label) declares one.
pub trait Label: EncodeLabelSet + Copy + Eq + Hash + fmt::Debug + Send + Sync + 'static {
    /// All values.
    const ALL: &'static [Self];
}

/// Declares a label and its values.
#[macro_export]
macro_rules! label {
    ($(#[$meta:meta])* $visible:vis $name:ident as $key:literal { $($value:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        $visible enum $name { $($value,)+ }

        impl $crate::metrics::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];
        }

        impl $crate::metrics::__encoding::EncodeLabelSet for $name {
            fn encode(
                &self,
                encoder: &mut $crate::metrics::__encoding::LabelSetEncoder<'_>,
            ) -> std::fmt::Result {
                let value = match self { $(Self::$value => $text,)+ };
                let label = encoder.encode_label();
                $crate::metrics::__encoding::EncodeLabel::encode(&($key, value), label)
            }
        }
    };
}
