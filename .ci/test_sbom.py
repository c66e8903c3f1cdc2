"""The bills of materials, against Cargo.lock and the lists of crates that must and must not be in a binary."""

import json
import tomllib

import pytest
import sbom


@pytest.fixture(scope="module")
def bills(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sbom")
    sbom.main(folder)
    return {binary: json.loads((folder / f"{binary}.cdx.json").read_text()) for binary in sbom.BINARIES}


@pytest.mark.parametrize("binary", sbom.BINARIES)
def test_everything_in_it_is_locked_licensed_and_told_once(bills, binary):
    bill = bills[binary]
    lock = tomllib.loads((sbom.ROOT / "Cargo.lock").read_text())
    locked = {f"pkg:cargo/{p['name']}@{p['version']}" for p in lock["package"]}
    refs = [c["bom-ref"] for c in bill["components"]]
    assert len(refs) > 50 and len(refs) == len(set(refs)) and set(refs) <= locked
    assert all(c["licenses"][0]["expression"] for c in bill["components"])
    ours = {"daemon", "kernels", "latent", "media", "nqe", "patchwire-models", "patchwire-proto", "purenet", "quality"}
    ours |= {"uplink", "edge-node", "cloud-decoder"}
    assert all("hashes" in c or c["name"] in ours for c in bill["components"])


@pytest.mark.parametrize("binary", sbom.BINARIES)
def test_every_component_is_reached_from_the_binary(bills, binary):
    bill = bills[binary]
    below = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    root = bill["metadata"]["component"]["bom-ref"]
    reached, waiting = set(), [root]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += below[ref]
    assert reached == {root} | {c["bom-ref"] for c in bill["components"]}


def test_one_tls_provider_and_nothing_of_the_tests(bills):
    for binary, bill in bills.items():
        names = {c["name"] for c in bill["components"]}
        assert {"rustls", "aws-lc-rs", "tokio"} <= names, binary
        assert not names & {"ring", "openssl", "native-tls", "proptest", "criterion", "prost-build"}, binary
    assert "nqe" in {c["name"] for c in bills["edge-node"]["components"]}
    assert "purenet" not in {c["name"] for c in bills["edge-node"]["components"]}
