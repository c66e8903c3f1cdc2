//! Which kernel each output channel uses, and which input channels each kernel keeps.
//!
//! Kept channels are stored as gaps: a field below 2^gap_bits - 1 skips that many channels and keeps the next one; the
//! largest field skips 2^gap_bits - 1 channels and keeps none. With 1 bit this is a mask, with many a list.

use crate::bits;
use crate::checks::value;
use crate::error::ProgramError;
use crate::mirror::Mirror;
use crate::reader::Reader;
use crate::shapes::{ConvSpec, Map};

const MAX_GAP_BITS: u32 = 10;

/// The parts of a convolution that are not stored; by default everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wiring {
    /// Output channels that share kernels; none: each has its own.
    pub shared: Option<Shared>,
    /// Kernels that read some of the input channels; none: each reads all of its group.
    pub pruned: Option<Pruned>,
    /// Kernels of which half is stored; only with one group, and with none shared or pruned.
    pub mirror: Option<Mirror>,
}

/// Fewer kernels than output channels. Channels with the same kernel differ in their biases. Only with one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Stored kernels, at least 1 and fewer than the output channels.
    pub kernels: u32,
    /// Each output channel's kernel.
    pub kernel_of: Vec<u16>,
}

/// Kernels of which only some input channels are stored and computed; the others' weights count 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Bits of a stored gap, 1 to 10.
    pub gap_bits: u32,
    /// Each stored kernel's input channels, counted within its group, ascending; may be empty.
    pub kept: Vec<Vec<u16>>,
}

impl Wiring {
    /// Stored kernels of a convolution.
    pub fn kernels(&self, spec: &ConvSpec) -> u32 {
        self.shared
            .as_ref()
            .map_or(self.biases(spec), |shared| shared.kernels)
    }

    /// Stored biases of a convolution.
    pub fn biases(&self, spec: &ConvSpec) -> u32 {
        match self.mirror {
            Some(Mirror::Outputs) => spec.out_channels / 2,
            Some(Mirror::Inputs) | None => spec.out_channels,
        }
    }

    /// Input channels a group that kernels are stored for, pruned ones among them.
    pub(crate) fn channels(&self, spec: &ConvSpec, input: Map) -> u32 {
        let channels = input.channels / spec.groups;
        match self.mirror {
            Some(Mirror::Inputs) => channels / 2,
            Some(Mirror::Outputs) | None => channels,
        }
    }

    /// Bits of kernel indices and gaps, for `channels` input channels a group.
    pub(crate) fn bits(&self, channels: u32) -> u64 {
        let indices = self.shared.as_ref().map_or(0, |shared| {
            shared.kernel_of.len() as u64 * u64::from(index_bits(shared.kernels))
        });
        let gaps = self.pruned.as_ref().map_or(0, |pruned| {
            pruned.gaps(channels).len() as u64 * u64::from(pruned.gap_bits)
        });
        indices + gaps
    }

    /// Writes the fields of the file from `mirror` to the kept channels.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>, spec: &ConvSpec, channels: u32) {
        bytes.push(self.mirror.map_or(0, Mirror::code));
        bytes.extend((self.kernels(spec) as u16).to_le_bytes());
        bytes.push(
            self.pruned
                .as_ref()
                .map_or(0, |pruned| pruned.gap_bits as u8),
        );
        if let Some(shared) = &self.shared {
            let indices = shared.kernel_of.iter().map(|&index| index.into());
            bytes.extend(bits::pack(indices, index_bits(shared.kernels)));
        }
        if let Some(pruned) = &self.pruned {
            let gaps = pruned.gaps(channels);
            bytes.extend(bits::pack(gaps.into_iter(), pruned.gap_bits));
        }
    }

    /// Reads what [`Self::write`] writes. Kernel indices are left to [`Self::check`].
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        layer: usize,
        spec: &ConvSpec,
        input: Map,
    ) -> Result<Self, ProgramError> {
        let mut wiring = Self {
            mirror: match reader.u8("mirror")? {
                0 => None,
                1 => Some(Mirror::Outputs),
                2 => Some(Mirror::Inputs),
                found => {
                    let allowed = "0 (none), 1 (output channels) or 2 (input channels)";
                    return Err(reader.refuse("mirror", found, allowed));
                }
            },
            ..Self::default()
        };
        let kernels = reader.u16("kernels")?;
        let gap_bits = reader.u8("gap_bits")?;
        if let Some(mirror) = wiring.mirror {
            mirror.check(layer, spec, input)?;
            let stored = wiring.kernels(spec);
            let allowed = format!("{stored} where kernels are mirrored");
            reader.check("kernels", kernels, kernels == stored, &allowed)?;
            let allowed = "0 where kernels are mirrored";
            reader.check("gap_bits", gap_bits, gap_bits == 0, allowed)?;
            return Ok(wiring);
        }
        check_kernels(layer, spec, kernels)?;
        reader.check("gap_bits", gap_bits, gap_bits <= MAX_GAP_BITS, "0 to 10")?;
        if kernels < spec.out_channels {
            let (count, width) = (spec.out_channels as usize, index_bits(kernels));
            let indices = reader.packed(count, width, "packed kernel indices")?;
            let kernel_of = indices.map(|index| index as u16).collect();
            wiring.shared = Some(Shared { kernels, kernel_of });
        }
        if gap_bits > 0 {
            let channels = wiring.channels(spec, input);
            wiring.pruned = Some(Pruned::read(reader, gap_bits, kernels, channels)?);
        }
        Ok(wiring)
    }

    /// Checks the wiring of a convolution whose shape is right.
    pub(crate) fn check(
        &self,
        layer: usize,
        spec: &ConvSpec,
        input: Map,
    ) -> Result<(), ProgramError> {
        if let Some(mirror) = self.mirror {
            let alone = self.shared.is_none() && self.pruned.is_none();
            value(layer, "mirror", mirror.code(), alone, || {
                "0 where kernels are shared or pruned".into()
            })?;
            return mirror.check(layer, spec, input);
        }
        let channels = self.channels(spec, input);
        if let Some(shared) = &self.shared {
            shared.check(layer, spec)?;
        }
        let Some(Pruned { gap_bits, kept }) = &self.pruned else {
            return Ok(());
        };
        let fits = (1..=MAX_GAP_BITS).contains(gap_bits);
        value(layer, "gap_bits", *gap_bits, fits, || {
            format!("1 to {MAX_GAP_BITS} where kernels are pruned")
        })?;
        let kernels = self.kernels(spec) as usize;
        value(
            layer,
            "lists of kept channels",
            kept.len(),
            kept.len() == kernels,
            || format!("{kernels}, one a kernel"),
        )?;
        for kept in kept {
            let mut next = 0;
            for &channel in kept {
                let fits = (next..channels).contains(&channel.into());
                value(layer, "kept channel", channel, fits, || {
                    format!("{next} to {}, ascending", channels - 1)
                })?;
                next = u32::from(channel) + 1;
            }
        }
        Ok(())
    }
}

impl Shared {
    fn check(&self, layer: usize, spec: &ConvSpec) -> Result<(), ProgramError> {
        check_kernels(layer, spec, self.kernels)?;
        let (kernels, channels) = (self.kernels, spec.out_channels);
        value(layer, "shared kernels", kernels, kernels < channels, || {
            format!("fewer than the {channels} output channels")
        })?;
        let indices = self.kernel_of.len();
        value(
            layer,
            "kernel indices",
            indices,
            indices == channels as usize,
            || format!("{channels}, one an output channel"),
        )?;
        for &index in &self.kernel_of {
            value(
                layer,
                "kernel index",
                index,
                u32::from(index) < kernels,
                || format!("0 to {}", kernels - 1),
            )?;
        }
        Ok(())
    }
}

impl Pruned {
    /// The fields of all kernels, in order; there is only one way to write a list.
    fn gaps(&self, channels: u32) -> Vec<i32> {
        let all = skip_all(self.gap_bits);
        let mut gaps = Vec::new();
        for kept in &self.kept {
            let mut position = 0;
            for &channel in kept {
                let gap = u32::from(channel) - position;
                gaps.extend((0..gap / all).map(|_| all as i32));
                gaps.push((gap % all) as i32);
                position = u32::from(channel) + 1;
            }
            gaps.extend((0..(channels - position).div_ceil(all)).map(|_| all as i32));
        }
        gaps
    }

    /// Reads the fields of `kernels` kernels.
    fn read(
        reader: &mut Reader<'_>,
        gap_bits: u32,
        kernels: u32,
        channels: u32,
    ) -> Result<Self, ProgramError> {
        let all = skip_all(gap_bits);
        let mut fields = reader.fields(gap_bits, "packed kept channels");
        let mut kept = Vec::new();
        for _ in 0..kernels {
            let mut list = Vec::new();
            let mut position = 0;
            while position < channels {
                let gap = fields.next()?;
                position += gap;
                if gap < all {
                    if position >= channels {
                        let allowed = format!("0 to {}", channels - 1);
                        return Err(fields.reader.refuse("kept channel", position, &allowed));
                    }
                    list.push(position as u16);
                    position += 1;
                }
            }
            kept.push(list);
        }
        fields.end()?;
        Ok(Self { gap_bits, kept })
    }
}

/// The field that keeps no channel, and what it skips.
fn skip_all(gap_bits: u32) -> u32 {
    (1 << gap_bits) - 1
}

/// Bits of a kernel index: those that `kernels - 1` needs.
fn index_bits(kernels: u32) -> u32 {
    u32::BITS - (kernels - 1).leading_zeros()
}

/// Checks a number of stored kernels.
fn check_kernels(layer: usize, spec: &ConvSpec, kernels: u32) -> Result<(), ProgramError> {
    let channels = spec.out_channels;
    let fits = (1..=channels).contains(&kernels);
    value(layer, "kernels", kernels, fits, || {
        format!("1 to {channels}")
    })?;
    let fits = spec.groups == 1 || kernels == channels;
    value(layer, "kernels", kernels, fits, || {
        format!(
            "{channels}: kernels are shared with 1 group only, not with {}",
            spec.groups
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_of_one_bit_are_a_mask_and_wide_ones_a_list() {
        let gaps = |gap_bits, kept: &[u16]| {
            let kept = vec![kept.to_vec()];
            Pruned { gap_bits, kept }.gaps(10)
        };
        assert_eq!(gaps(1, &[1, 2, 8]), [1, 0, 0, 1, 1, 1, 1, 1, 0, 1]);
        assert_eq!(gaps(2, &[1, 2, 8]), [1, 0, 3, 2, 3]);
        assert_eq!(gaps(4, &[1, 2, 8]), [1, 0, 5, 15]);
        assert_eq!(gaps(4, &[9]), [9]);
        assert_eq!(gaps(10, &[]), [1023]);
    }

    #[test]
    fn an_index_has_the_bits_of_the_last_kernel() {
        let bits = [1, 2, 3, 4, 5, 113, 128, 129, 1023].map(index_bits);
        assert_eq!(bits, [0, 1, 2, 2, 3, 7, 7, 8, 10]);
    }
}
