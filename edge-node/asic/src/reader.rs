//! Reads a program's fields; whatever is wrong is told with the field's name.

use crate::{Field, ProgramError, bits};

/// The bytes still to read, and the layer they belong to.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) layer: Option<usize>,
}

impl<'a> Reader<'a> {
    fn field(&self, name: &'static str) -> Field {
        Field {
            layer: self.layer,
            name,
        }
    }

    pub(crate) fn take(
        &mut self,
        count: u64,
        name: &'static str,
    ) -> Result<&'a [u8], ProgramError> {
        let split = usize::try_from(count)
            .ok()
            .and_then(|count| self.rest.split_at_checked(count));
        let Some((taken, rest)) = split else {
            let left = self.rest.len() as u64;
            return Err(ProgramError::Truncated {
                field: self.field(name),
                needed: count,
                left,
            });
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<[u8; N], ProgramError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64, name)?);
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self, name: &'static str) -> Result<u32, ProgramError> {
        Ok(self.array::<1>(name)?[0].into())
    }

    pub(crate) fn u16(&mut self, name: &'static str) -> Result<u32, ProgramError> {
        Ok(u16::from_le_bytes(self.array(name)?).into())
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<String, ProgramError> {
        let len = self.u8(name)?;
        let bytes = self.take(len.into(), name)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| ProgramError::Utf8 {
            field: self.field(name),
        })
    }

    /// `count` fields of `width` bits, as raw codes.
    pub(crate) fn packed(
        &mut self,
        count: usize,
        width: u32,
        name: &'static str,
    ) -> Result<impl Iterator<Item = u32> + use<'a>, ProgramError> {
        let bytes = self.take(bits::packed_len(count, width) as u64, name)?;
        match bits::spare(bytes, count * width as usize) {
            0 => Ok((0..count).map(move |index| bits::get(bytes, index, width))),
            found => Err(ProgramError::Spare {
                field: self.field(name),
                found,
            }),
        }
    }

    /// A stream of `width`-bit fields whose number its content tells.
    pub(crate) fn fields(&mut self, width: u32, name: &'static str) -> Fields<'_, 'a> {
        Fields {
            reader: self,
            width,
            name,
            count: 0,
        }
    }

    pub(crate) fn end(&self, name: &'static str) -> Result<(), ProgramError> {
        let count = self.rest.len() as u64;
        if count == 0 {
            Ok(())
        } else {
            Err(self.refuse(name, count, "0"))
        }
    }

    pub(crate) fn check(
        &self,
        name: &'static str,
        found: u32,
        fits: bool,
        allowed: &str,
    ) -> Result<(), ProgramError> {
        if fits {
            Ok(())
        } else {
            Err(self.refuse(name, found, allowed))
        }
    }

    pub(crate) fn refuse(
        &self,
        name: &'static str,
        found: impl TryInto<i64>,
        allowed: &str,
    ) -> ProgramError {
        let found = found.try_into().unwrap_or(i64::MAX);
        ProgramError::Value {
            field: self.field(name),
            found,
            allowed: allowed.to_owned(),
        }
    }
}

/// Fields read one by one from the bytes still to read.
pub(crate) struct Fields<'r, 'a> {
    pub(crate) reader: &'r mut Reader<'a>,
    width: u32,
    name: &'static str,
    count: usize,
}

impl Fields<'_, '_> {
    pub(crate) fn next(&mut self) -> Result<u32, ProgramError> {
        let needed = bits::packed_len(self.count + 1, self.width);
        if needed > self.reader.rest.len() {
            // Too short by this field: refused with both lengths.
            self.reader.take(needed as u64, self.name)?;
        }
        let field = bits::get(self.reader.rest, self.count, self.width);
        self.count += 1;
        Ok(field)
    }

    /// Takes the bytes of the fields that were read.
    pub(crate) fn end(self) -> Result<(), ProgramError> {
        let fields = self.reader.packed(self.count, self.width, self.name);
        fields.map(drop)
    }
}
