//! Golden vectors of an independent integer model, through every path that this machine has.
//!
//! `golden/NAME.json` names a `program` beside it and holds `pixels`, a list of patches in hexadecimal, with what is
//! expected of each: `bits` (hexadecimal, compression) or `logits` (lists of integers, classification).

use std::{fs, path::Path, sync::Arc};

use nqe::{Emulator, Kernel, Output, Program};
use serde_json::Value;

fn list<'a>(vectors: &'a Value, key: &str) -> &'a [Value] {
    vectors[key]
        .as_array()
        .unwrap_or_else(|| panic!("`{key}` is a list"))
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a string")).expect("hexadecimal")
}

fn expected(vectors: &Value) -> Vec<Output> {
    if vectors["bits"].is_array() {
        return list(vectors, "bits")
            .iter()
            .map(|bits| Output::Bits(bytes(bits)))
            .collect();
    }
    let logit =
        |value: &Value| i32::try_from(value.as_i64().expect("an integer")).expect("32 bits");
    let logits =
        |row: &Value| Output::Logits(row.as_array().expect("a list").iter().map(logit).collect());
    list(vectors, "logits").iter().map(logits).collect()
}

#[test]
fn every_path_gives_the_golden_outputs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    assert!(!files.is_empty(), "{} holds no vectors", folder.display());
    for file in files {
        let vectors: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let name = vectors["program"]
            .as_str()
            .expect("`program` is a file name");
        let program = Program::from_bytes(&fs::read(folder.join(name)).unwrap()).unwrap();
        let (pixels, expected) = (list(&vectors, "pixels"), expected(&vectors));
        assert!(!pixels.is_empty(), "{name} comes without patches");
        assert_eq!(pixels.len(), expected.len(), "{name}: an output a patch");
        let program = Arc::new(program);
        for kernel in Kernel::available() {
            let emulator =
                Emulator::with_kernel(program.clone(), kernel).expect("the path is available");
            for (index, (pixels, expected)) in pixels.iter().zip(&expected).enumerate() {
                let output = emulator.run_patch(&bytes(pixels)).unwrap();
                assert_eq!(&output, expected, "{name}, patch {index}, {kernel}");
            }
        }
    }
}
