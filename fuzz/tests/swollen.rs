//! Messages that are small on the wire and large in memory are refused before they are decoded.

use doors::UPLINK;

/// Nearly as large as the uplink takes them,
const LARGEST: usize = 57 << 20;
/// and as large as shows that memory does not grow with them.
const LARGE: usize = 6 << 20;

/// A field of bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

// One test: doors are measured by the memory of the whole process.
#[test]
fn memory_is_bounded_by_the_bytes_on_the_wire() {
    let full = |entry: &[u8]| entry.repeat(LARGE / entry.len());
    let small = |entry: &[u8]| entry.repeat(4096 / entry.len());
    let (programs, ids) = (field(4, &[]), field(3, &[]));
    let scores = field(2, &[]);
    let messages = [
        (
            "a hello of 30 million empty programs",
            field(1, &programs.repeat(LARGEST / programs.len())),
        ),
        ("a hello of empty program ids", field(1, &full(&ids))),
        (
            "many hellos of programs",
            full(&field(1, &small(&programs))),
        ),
        (
            "a frame of empty scores",
            field(2, &field(7, &full(&scores))),
        ),
        (
            "a frame of many labels",
            field(2, &full(&field(7, &small(&scores)))),
        ),
        (
            "many frames of labels",
            full(&field(2, &field(7, &small(&scores)))),
        ),
        (
            "a status of fields that nobody knows",
            field(3, &full(&field(9, &[]))),
        ),
        ("empty messages", full(&field(1, &[]))),
        ("fields that nobody knows", full(&field(14, &[]))),
    ];
    for (name, message) in messages {
        eprintln!("{name}: {} bytes", message.len());
        UPLINK.enter(&message);
    }
}
