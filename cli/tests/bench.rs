//! `bench` measures everything it says, and its JSON is as documented. How fast is not judged here.

mod common;

use serde_json::Value;

fn number(row: &Value, key: &str) -> f64 {
    let number = row[key].as_f64();
    let number = number.unwrap_or_else(|| panic!("{key} is a number: {row}"));
    assert!(number.is_finite() && number > 0.0, "{key}: {row}");
    number
}

#[test]
fn every_path_and_size_is_measured() {
    let shown = common::succeeds(["bench", "--seconds", "0.1", "--json", "-"]);
    let report: Value = serde_json::from_str(&shown).expect("JSON on standard output");
    let rows = |key: &str| report[key].as_array().expect(key).clone();

    let encoder = rows("encoder");
    for kernel in kernels::Kernel::available() {
        for task in ["compression", "classification"] {
            let of_path = |row: &&Value| row["path"] == kernel.name() && row["task"] == task;
            let row = encoder.iter().find(of_path);
            let row = row.unwrap_or_else(|| panic!("no {task} on {kernel}: {shown}"));
            number(row, "gops");
            number(row, "patches_per_s");
            let peak = report["peaks"][kernel.name()].as_f64();
            assert_eq!(row["share_of_peak"].is_f64(), peak.is_some(), "{row}");
        }
    }
    let decoder = rows("decoder");
    for kernel in kernels::Kernel::available() {
        for name in ["large", "fast"] {
            let of_path = |row: &&Value| row["path"] == kernel.name() && row["decoder"] == name;
            let row = decoder.iter().find(of_path);
            let row = row.unwrap_or_else(|| panic!("no {name} decoder on {kernel}: {shown}"));
            number(row, "gops");
            number(row, "megapixels_per_s");
            let peak = kernel != kernels::Kernel::Scalar;
            assert_eq!(row["share_of_peak"].is_f64(), peak, "{row}");
        }
    }
    let codec = rows("codec");
    assert_eq!(codec.len(), 2, "{shown}");
    for row in codec {
        number(&row, "encode_ms");
        number(&row, "decode_ms");
    }
    for (name, originals) in [("large", 1.0), ("fast", 1.0), ("fast", 0.01)] {
        let of_pair = |row: &&Value| row["decoder"] == name && row["originals_share"] == originals;
        let pairs = rows("pair");
        let sizes: Vec<_> = pairs
            .iter()
            .filter(of_pair)
            .map(|row| row["width"].as_u64())
            .collect();
        assert_eq!(sizes, [Some(640), Some(1280), Some(1920)], "{name}");
    }
    for row in rows("pair") {
        number(&row, "frames_per_s");
        assert!(number(&row, "p50_ms") <= number(&row, "p99_ms"), "{row}");
    }
}
