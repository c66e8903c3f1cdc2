//! Writes a JPEG again with the parts that the decoder needs and nothing else.

use super::parts::{Component, Parts, Piece, Scan};

/// One bits, which no Huffman code consists of: a decoder that reads beyond the data finds a fault. At a marker it
/// would read zeros without end.
const ONES: [u8; 2] = [0xff, 0x00];
/// Pairs of such bytes behind data that are read code by code.
const AFTER_CODES: usize = 8;
/// Pairs behind a progressive scan, whose runs may go on for a thousand bits without a code.
const AFTER_RUNS: usize = 160;

/// A picture whose components are stored together.
pub(super) fn whole(parts: &Parts<'_>) -> Vec<u8> {
    let progressive = parts.kind == 0xc2;
    let ids = if parts.rgb { *b"RGB\0" } else { [1, 2, 3, 4] };
    let mut jpeg = begin(parts);
    // Adobe's marker tells the colour space of four components.
    if let Some(adobe) = parts
        .adobe
        .filter(|adobe| parts.components.len() == 4 && adobe[11] < 3)
    {
        segment(&mut jpeg, 0xee, &[adobe]);
    }
    let components = parts.components.iter().zip(ids);
    let components = components.map(|(component, id)| Component { id, ..*component });
    frame_header(
        &mut jpeg,
        parts.kind,
        (parts.width, parts.height),
        components,
    );
    let mut scans = 0;
    for piece in &parts.pieces {
        match piece {
            Piece::Table(marker, content) => segment(&mut jpeg, *marker, &[content]),
            Piece::Scan(scan) => {
                let components = scan.components.iter();
                let components = components.map(|&(index, tables)| [ids[index], tables]);
                scan_header(&mut jpeg, components, scan.progress);
                // Behind the first scan of a progressive picture the decoder expects the marker at once.
                let after = match (progressive, scans) {
                    (false, _) => AFTER_CODES,
                    (true, 0) => 0,
                    (true, _) => AFTER_RUNS,
                };
                data(&mut jpeg, scan, after);
                scans += 1;
                if !progressive {
                    break;
                }
            }
        }
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

/// One component of a planar picture, as a gray JPEG.
pub(super) fn plane(parts: &Parts<'_>, index: usize) -> Vec<u8> {
    let mut jpeg = begin(parts);
    let component = Component {
        id: 1,
        across: 1,
        down: 1,
        ..parts.components[index]
    };
    frame_header(&mut jpeg, 0xc1, parts.plane_size(index), [component]);
    for piece in &parts.pieces {
        match piece {
            Piece::Table(marker, content) => segment(&mut jpeg, *marker, &[content]),
            Piece::Scan(scan) if scan.components[0].0 == index => {
                scan_header(&mut jpeg, [[1, scan.components[0].1]], scan.progress);
                data(&mut jpeg, scan, AFTER_CODES);
                break;
            }
            Piece::Scan(_) => {}
        }
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

fn begin(parts: &Parts<'_>) -> Vec<u8> {
    let sizes = parts.pieces.iter().map(|piece| match piece {
        Piece::Table(_, content) => content.len() + 4,
        Piece::Scan(scan) => scan.data.len() + 2 * AFTER_RUNS + 20,
    });
    let mut jpeg = Vec::with_capacity(sizes.sum::<usize>() + 64);
    jpeg.extend([0xff, 0xd8]);
    // This marker makes the decoder use the standard Huffman tables for missing ones.
    segment(&mut jpeg, 0xe0, &[b"AVI1\0"]);
    jpeg
}

pub(super) fn frame_header(
    jpeg: &mut Vec<u8>,
    kind: u8,
    (width, height): (u16, u16),
    components: impl IntoIterator<Item = Component>,
) {
    let components = components.into_iter().map(|component| {
        let sampling = component.across << 4 | component.down;
        [component.id, sampling, component.quantization]
    });
    let components: Vec<_> = components.collect();
    let (height, width) = (height.to_be_bytes(), width.to_be_bytes());
    let count = [components.len() as u8];
    segment(
        jpeg,
        kind,
        &[&[8], &height, &width, &count, components.as_flattened()],
    );
}

pub(super) fn scan_header(
    jpeg: &mut Vec<u8>,
    components: impl IntoIterator<Item = [u8; 2]>,
    progress: [u8; 3],
) {
    let components: Vec<_> = components.into_iter().collect();
    let count = [components.len() as u8];
    segment(jpeg, 0xda, &[&count, components.as_flattened(), &progress]);
}

/// Writes a segment. `content` comes from a segment of the file, so its length fits.
pub(super) fn segment(jpeg: &mut Vec<u8>, marker: u8, content: &[&[u8]]) {
    let length = 2 + content.iter().map(|piece| piece.len()).sum::<usize>();
    jpeg.extend([0xff, marker]);
    jpeg.extend((length as u16).to_be_bytes());
    content
        .iter()
        .for_each(|piece| jpeg.extend_from_slice(piece));
}

/// Writes the data of a scan, with one bits before each restart marker and at the end.
fn data(jpeg: &mut Vec<u8>, scan: &Scan<'_>, after: usize) {
    let mut rest = scan.data;
    let restarts = |pair: &[u8]| pair[0] == 0xff && matches!(pair[1], 0xd0..=0xd7);
    while let Some(at) = rest.windows(2).position(restarts) {
        jpeg.extend_from_slice(&rest[..at]);
        jpeg.extend(ONES.repeat(AFTER_CODES));
        jpeg.extend_from_slice(&rest[at..at + 2]);
        rest = &rest[at + 2..];
    }
    jpeg.extend_from_slice(rest);
    jpeg.extend(ONES.repeat(after));
}
