//! Every seed, and every input that once broke something, goes through its door.

use std::{fs, path::Path};

use doors::DOORS;

// One test: doors are measured by the memory of the whole process.
#[test]
fn seeds_pass() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for door in DOORS {
        let folder = seeds.join(door.name);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("entry").path())
            .collect();
        assert!(!files.is_empty(), "{} has no seeds", folder.display());
        files.sort();
        for file in files {
            eprintln!("{}", file.display());
            door.enter(&fs::read(&file).expect("seed"));
        }
    }
}
