//! The numbers that are multiplied.

use crate::operands::Plain;

/// An activation: u8 with weights in i8, or i16 with weights in i16.
pub trait Element: Plain + sealed::Sealed {
    /// A weight, as large as an activation.
    type Weight: Copy + Default + Into<i32>;
}

impl Element for u8 {
    type Weight = i8;
}

impl Element for i16 {
    type Weight = i16;
}

pub(crate) mod sealed {
    /// Details of an element that only this crate uses.
    pub trait Sealed: Sized {
        /// Whether it is i16.
        const WORDS: bool;

        /// The activation as a number.
        fn number(self) -> i32;

        /// Writes a weight's bytes.
        fn store(weight: i32, bytes: &mut [i8]);
    }

    impl Sealed for u8 {
        const WORDS: bool = false;

        fn number(self) -> i32 {
            self.into()
        }

        fn store(weight: i32, bytes: &mut [i8]) {
            bytes[0] = weight as i8;
        }
    }

    impl Sealed for i16 {
        const WORDS: bool = true;

        fn number(self) -> i32 {
            self.into()
        }

        fn store(weight: i32, bytes: &mut [i8]) {
            let [low, high] = (weight as i16).to_le_bytes();
            bytes[..2].copy_from_slice(&[low as i8, high as i8]);
        }
    }
}
