//! Writes a JPEG without metadata: its tables, its data and its orientation, nothing else.

use image::metadata::Orientation;

use super::{
    parts::{Layout, Parts, Piece},
    rewrite::{frame_header, scan_header, segment},
};

/// The header of JFIF 1.1 without a resolution. It declares that three components are YCbCr.
const JFIF: &[u8] = b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0";

/// The picture without metadata; `None` for a planar one, whose order of scans is not kept.
pub(super) fn stripped(parts: &Parts<'_>) -> Option<Vec<u8>> {
    if parts.layout != Layout::Together {
        return None;
    }
    let mut jpeg = vec![0xff, 0xd8];
    match parts.adobe {
        // Adobe's marker has no effect beside JFIF.
        _ if !parts.rgb && parts.components.len() < 4 => segment(&mut jpeg, 0xe0, &[JFIF]),
        Some(adobe) => segment(&mut jpeg, 0xee, &[adobe]),
        None => {}
    }
    if parts.orientation != Orientation::NoTransforms {
        segment(&mut jpeg, 0xe1, &[&exif(parts.orientation)]);
    }
    let size = (parts.width, parts.height);
    frame_header(
        &mut jpeg,
        parts.kind,
        size,
        parts.components.iter().copied(),
    );
    for piece in &parts.pieces {
        match piece {
            Piece::Table(marker, content) => segment(&mut jpeg, *marker, &[content]),
            Piece::Scan(scan) => {
                let components = scan.components.iter();
                let components =
                    components.map(|&(index, tables)| [parts.components[index].id, tables]);
                scan_header(&mut jpeg, components, scan.progress);
                jpeg.extend_from_slice(scan.data);
            }
        }
    }
    jpeg.extend([0xff, 0xd9]);
    Some(jpeg)
}

/// EXIF with the orientation as its only tag: TIFF 6.0, big endian, tag 0x0112, one SHORT.
fn exif(orientation: Orientation) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.push(orientation.to_exif());
    exif.extend([0; 6]);
    exif
}
