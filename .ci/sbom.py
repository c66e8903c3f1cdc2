#!/usr/bin/env python3
"""Writes a bill of materials (CycloneDX 1.6, JSON) for each binary: every crate that is compiled into it, with
version, licence, checksum and dependencies.

    .ci/sbom.py FOLDER

Crates that only tests, build scripts or macros use are not in it. The same Cargo.lock gives the same bytes.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = ["edge-node", "cloud-decoder", "patchwire"]
TARGET = "x86_64-unknown-linux-gnu"


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def packages():
    """Every package that Cargo knows, by name and version."""
    known = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET))
    return {(p["name"], p["version"]): p for p in known["packages"]}


def graph(binary):
    """The packages linked into a binary and the dependencies of each, by name and version; the binary comes first.

    Not from `cargo metadata`, whose graph has crates that no feature turns on.
    """
    edges = ["--edges", "normal,no-proc-macro", "--target", TARGET]
    tree = cargo("tree", "--locked", "--package", binary, *edges, "--prefix", "depth", "--format", " {p}")
    found, path = {}, []
    for line in tree.splitlines():
        depth, name, version, *_ = line.split()
        package = (name, version.removeprefix("v"))
        path[int(depth):] = [package]
        found.setdefault(package, set())
        if len(path) > 1:
            found[path[-2]].add(package)
    return found


def checksums():
    """SHA-256 of each crate from a registry, by name and version."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind, sums):
    described = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package["license"]:
        # Old crates write "/" for OR.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := sums.get((package["name"], package["version"])):
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return described


def bill(binary, known, sums):
    """The bill of materials of one binary."""
    found = graph(binary)
    root, *_ = found
    order = sorted(found)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(known[root], "application", sums)},
        "components": [component(known[p], "library", sums) for p in order if p != root],
        "dependencies": [
            {"ref": reference(known[p]), "dependsOn": sorted(reference(known[d]) for d in found[p])} for p in order
        ],
    }


def main(folder):
    known, sums = packages(), checksums()
    folder.mkdir(parents=True, exist_ok=True)
    for binary in BINARIES:
        text = json.dumps(bill(binary, known, sums), indent=1) + "\n"
        (folder / f"{binary}.cdx.json").write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: .ci/sbom.py FOLDER")
    main(Path(sys.argv[1]))
