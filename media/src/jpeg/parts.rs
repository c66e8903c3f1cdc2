//! The parts of a JPEG (ITU-T T.81, annex B).

use image::metadata::Orientation;

use super::error::JpegError;

/// Most tables and scans of a file; progressive files have about thirty.
const MOST_PIECES: usize = 1024;

/// A JPEG taken apart.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// Marker of the frame header: 0xc0 baseline, 0xc1 extended, 0xc2 progressive.
    pub(super) kind: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    /// 1, 3 or 4.
    pub(super) components: Vec<Component>,
    /// Tables and scans in their order.
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) layout: Layout,
    /// Whether three components are red, green and blue.
    pub(super) rgb: bool,
    /// Adobe's marker, which tells the colour space of four components.
    pub(super) adobe: Option<&'a [u8]>,
    pub(super) orientation: Orientation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors across and down, 1 to 4 each.
    pub(super) across: u8,
    pub(super) down: u8,
    pub(super) quantization: u8,
}

#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Marker and content: quantization, Huffman codes or the restart interval.
    Table(u8, &'a [u8]),
    Scan(Scan<'a>),
}

#[derive(Debug)]
pub(super) struct Scan<'a> {
    /// Index and Huffman tables of each component.
    pub(super) components: Vec<(usize, u8)>,
    /// First and last coefficient, and the bits of them that the scan has.
    pub(super) progress: [u8; 3],
    pub(super) data: &'a [u8],
}

/// How the components are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In one scan, or in the scans of a progressive picture.
    Together,
    /// One scan per component.
    Planar,
}

impl Parts<'_> {
    /// Largest sampling factors across and down.
    fn unit(&self) -> (u8, u8) {
        let most = |side: fn(&Component) -> u8| self.components.iter().map(side).max();
        (
            most(|c| c.across).unwrap_or(1),
            most(|c| c.down).unwrap_or(1),
        )
    }

    /// Pixels across and down per sample of a component.
    pub(super) fn stretch(&self, index: usize) -> (u8, u8) {
        let ((across, down), component) = (self.unit(), self.components[index]);
        (across / component.across, down / component.down)
    }

    /// Width and height of a component in samples.
    pub(super) fn plane_size(&self, index: usize) -> (u16, u16) {
        let (across, down) = self.stretch(index);
        (
            self.width.div_ceil(across.into()),
            self.height.div_ceil(down.into()),
        )
    }
}

/// Takes a file apart.
pub(super) fn take_apart(bytes: &[u8]) -> Result<Parts<'_>, JpegError> {
    let mut parts = Parts {
        kind: 0,
        width: 0,
        height: 0,
        components: Vec::new(),
        pieces: Vec::new(),
        layout: Layout::Together,
        rgb: false,
        adobe: None,
        orientation: Orientation::NoTransforms,
    };
    let (mut jfif, mut exif) = (false, None);
    // The start marker is skipped; another one would begin another picture.
    let mut at = 2;
    while let Some(marker) = next_marker(bytes, &mut at)
        && !matches!(marker, 0xd8 | 0xd9)
    {
        let Some(content) = segment(bytes, &mut at)? else {
            break;
        };
        match marker {
            0xc0..=0xc2 => parts.frame_header(marker, content)?,
            0xc3 | 0xc5..=0xc7 => return Err(unsupported("lossless or hierarchical coding")),
            0xc8..=0xcf => return Err(unsupported("arithmetic coding")),
            0xc4 | 0xdb | 0xdd => parts.add(Piece::Table(marker, content))?,
            0xe0 => jfif |= content.starts_with(b"JFIF\0"),
            0xe1 if content.starts_with(b"Exif\0\0") => exif = exif.or(content.get(6..)),
            0xee if content.starts_with(b"Adobe") && content.len() >= 12 => {
                parts.adobe = Some(content);
            }
            0xda => {
                let scan = parts.scan(content, entropy_coded(bytes, &mut at))?;
                let last = parts.kind != 0xc2 && scan.components.len() == parts.components.len();
                parts.add(Piece::Scan(scan))?;
                if last && parts.height > 0 {
                    break;
                }
            }
            // The height, where the frame header leaves it open.
            0xdc if parts.height == 0 => {
                parts.height = content
                    .first_chunk()
                    .map_or(0, |&two| u16::from_be_bytes(two));
            }
            _ => {}
        }
    }
    parts.check()?;
    let ids: Vec<_> = parts
        .components
        .iter()
        .map(|component| component.id)
        .collect();
    parts.rgb = match parts.adobe {
        _ if ids.len() != 3 || jfif => false,
        Some(adobe) => adobe[11] == 0,
        None => ids == *b"RGB",
    };
    let orientation = exif.and_then(Orientation::from_exif_chunk);
    parts.orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok(parts)
}

impl<'a> Parts<'a> {
    fn add(&mut self, piece: Piece<'a>) -> Result<(), JpegError> {
        if self.pieces.len() == MOST_PIECES {
            return Err(JpegError::Damaged("it has more than 1024 tables and scans"));
        }
        self.pieces.push(piece);
        Ok(())
    }

    fn frame_header(&mut self, kind: u8, content: &[u8]) -> Result<(), JpegError> {
        if self.kind != 0 {
            return Err(JpegError::Damaged("it has two frame headers"));
        }
        let [precision, h1, h0, w1, w0, count, components @ ..] = content else {
            return Err(JpegError::Damaged("its frame header is too short"));
        };
        if *precision != 8 {
            return Err(unsupported(format!("{precision} bits a sample")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(format!("{count} components")));
        }
        let (components, rest) = components.as_chunks::<3>();
        if components.len() != usize::from(*count) || !rest.is_empty() {
            return Err(JpegError::Damaged("its frame header has a wrong length"));
        }
        for &[id, sampling, quantization] in components {
            let (across, down) = (sampling >> 4, sampling & 15);
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) || quantization > 3 {
                return Err(JpegError::Damaged("its frame header is wrong"));
            }
            self.components.push(Component {
                id,
                across,
                down,
                quantization,
            });
        }
        let (across, down) = self.unit();
        let divides = |c: &Component| across % c.across == 0 && down % c.down == 0;
        if !self.components.iter().all(divides) {
            return Err(unsupported(
                "components of which one is not a multiple of another",
            ));
        }
        self.kind = kind;
        self.width = u16::from_be_bytes([*w1, *w0]);
        self.height = u16::from_be_bytes([*h1, *h0]);
        Ok(())
    }

    fn scan(&self, content: &[u8], data: &'a [u8]) -> Result<Scan<'a>, JpegError> {
        let wrong = JpegError::Damaged("the header of a scan is wrong");
        let [count, rest @ ..] = content else {
            return Err(wrong);
        };
        let Some((selectors, &progress)) = rest.split_last_chunk::<3>() else {
            return Err(wrong);
        };
        let (selectors, rest) = selectors.as_chunks::<2>();
        if selectors.len() != usize::from(*count) || selectors.is_empty() || !rest.is_empty() {
            return Err(wrong);
        }
        let mut components: Vec<(usize, u8)> = Vec::new();
        for &[id, tables] in selectors {
            let index = self.components.iter().position(|c| c.id == id);
            match index {
                Some(index) if components.iter().all(|(other, _)| *other != index) => {
                    components.push((index, tables));
                }
                _ => return Err(wrong),
            }
        }
        Ok(Scan {
            components,
            progress,
            data,
        })
    }

    fn scans(&self) -> impl Iterator<Item = &Scan<'a>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Scan(scan) => Some(scan),
            Piece::Table(..) => None,
        })
    }

    /// Checks that the headers describe a whole picture, and finds its layout.
    fn check(&mut self) -> Result<(), JpegError> {
        let Some(first) = self.scans().next() else {
            return Err(JpegError::Truncated(
                "it ends before the data of the picture",
            ));
        };
        let (all, in_first) = (self.components.len(), first.components.len());
        if self.height == 0 {
            return Err(JpegError::Damaged(
                "its height is 0 and no DNL marker after the first scan tells another",
            ));
        }
        if self.width == 0 {
            return Err(JpegError::Damaged("its width is 0"));
        }
        if self.kind == 0xc2 {
            return self.check_progress();
        }
        if in_first == all {
            return Ok(());
        }
        let mut planes: Vec<_> = self.scans().map(|scan| scan.components[0].0).collect();
        if self.scans().any(|scan| scan.components.len() > 1) || all > 3 {
            return Err(unsupported(format!(
                "scans of some of its {all} components"
            )));
        }
        planes.sort_unstable();
        planes.dedup();
        if planes.len() < all {
            return Err(JpegError::Truncated("a component has no scan"));
        }
        self.layout = Layout::Planar;
        Ok(())
    }

    /// Checks that the scans of a progressive picture have every bit of every coefficient.
    fn check_progress(&self) -> Result<(), JpegError> {
        let mut whole = vec![[false; 64]; self.components.len()];
        for scan in self.scans() {
            let [first, last, bits] = scan.progress.map(usize::from);
            let Some(range) = (first <= last && last < 64).then_some(first..=last) else {
                return Err(JpegError::Damaged("the header of a scan is wrong"));
            };
            for (index, _) in &scan.components {
                whole[*index][range.clone()].fill(bits & 15 == 0);
            }
        }
        if whole.iter().flatten().all(|whole| *whole) {
            Ok(())
        } else {
            Err(JpegError::Truncated("its last scans are missing"))
        }
    }
}

fn unsupported(kind: impl Into<String>) -> JpegError {
    JpegError::Unsupported(kind.into())
}

/// The next marker; moves `at` behind it. Bytes between segments are skipped.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let rest = bytes.get(*at..)?;
        let found = rest.iter().position(|&byte| byte == 0xff)?;
        *at += found + 1;
        match bytes.get(*at)? {
            // Stuffed, or fill bytes.
            0x00 | 0xff => {}
            // Without content.
            0x01 | 0xd0..=0xd7 => *at += 1,
            &marker => {
                *at += 1;
                return Some(marker);
            }
        }
    }
}

/// The content of a segment; moves `at` behind it. `None` if the file ends before.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, JpegError> {
    let Some(&length) = bytes.get(*at..).and_then(|rest| rest.first_chunk()) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(length));
    if length < 2 {
        return Err(JpegError::Damaged("a segment has a wrong length"));
    }
    let content = bytes.get(*at + 2..*at + length);
    *at += length;
    Ok(content)
}

/// The data of a scan with its restart markers; moves `at` behind it.
fn entropy_coded<'a>(bytes: &'a [u8], at: &mut usize) -> &'a [u8] {
    let start = (*at).min(bytes.len());
    let data = &bytes[start..];
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff | 0xd0..=0xd7);
    let end = data.windows(2).position(ends).unwrap_or(data.len());
    *at = start + end;
    &data[..end]
}
