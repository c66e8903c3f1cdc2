#!/usr/bin/env python3
"""Measures what a frame costs a cloud decoder: processor seconds and bytes, embedded and in roles over PostgreSQL, NATS
and S3, and what each further decode process adds. docs/scale.md has the results.

Processor time is what the kernel counts for each process, so that other work on the machine changes the figures little.
Needs Linux, what .ci/engines installs, and binaries:

    cargo build --release --workspace --bins
    deploy/capacity.py --binaries target/release
"""

import argparse
import contextlib
import glob
import json
import os
import pathlib
import pwd
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 1800


def wait(what, condition, pause_s=0.1):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            if value := condition():
                return value
        time.sleep(pause_s)
    raise SystemExit(f"{what}: not within {PATIENCE_S} s")


def cpu_s(pid):
    """Processor seconds of a process, all its threads, and of its children, those that ended included."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, stat[11:15])) / TICKS
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(map(cpu_s, children))


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=60) as answer:
        return json.load(answer)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Engines:
    """PostgreSQL, NATS and an S3 server in a temporary folder."""

    def __init__(self, stack):
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)
        self.stack = stack
        self.processes = {}
        self._postgres()
        nats = free_port()
        program = shutil.which("nats-server") or "/usr/sbin/nats-server"
        self._start("NATS", [program, "-js", "-a", "127.0.0.1", "-p", str(nats), "-sd", str(self.folder / "nats")])
        s3 = free_port()
        moto = ROOT / "target/engines/bin/moto_server"
        self._start("S3 server", [str(moto), "-H", "127.0.0.1", "-p", str(s3)])
        endpoint = f"http://127.0.0.1:{s3}"
        bucket = urllib.request.Request(f"{endpoint}/frames", method="PUT")
        wait("the S3 server", lambda: urllib.request.urlopen(bucket))
        wait("NATS", lambda: socket.create_connection(("127.0.0.1", nats)))
        self.variables = {
            "CLOUD_DECODER_CATALOGUE__URL": f"postgres://postgres@localhost/postgres?host={self.folder}/socket",
            "CLOUD_DECODER_QUEUE__URL": f"nats://127.0.0.1:{nats}",
            "CLOUD_DECODER_OBJECTS__URL": "s3://frames",
            "CLOUD_DECODER_OBJECTS__ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    def _postgres(self):
        versions = glob.glob("/usr/lib/postgresql/*/bin")
        programs = pathlib.Path(max(versions, key=lambda path: int(path.split("/")[-2])))
        data, sockets = self.folder / "postgres", self.folder / "socket"
        # PostgreSQL does not run as root.
        user = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            user = {"user": entry.pw_uid, "group": entry.pw_gid}
        for path in (data, sockets):
            path.mkdir(mode=0o700)
            if user:
                os.chown(path, user["user"], user["group"])
        init = [programs / "initdb", "--auth=trust", "--username=postgres", "-D", data]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd=data, **user)
        serve = [programs / "postgres", "-c", "listen_addresses=", "-c", "max_connections=200", "-k", sockets, "-D", data]
        self._start("PostgreSQL", serve, cwd=data, **user)
        ready = [programs / "pg_isready", "-q", "-h", sockets]
        wait("PostgreSQL", lambda: subprocess.run(ready, check=True))

    def _start(self, name, command, **options):
        log = self.stack.enter_context(open(self.folder / f"{name}.log", "w"))
        process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        self.stack.callback(stop, process)
        self.processes[name] = process


def stop(process):
    process.terminate()
    process.wait()


class Cloud:
    """One cloud decoder, ready."""

    def __init__(self, stack, args, role, variables, core=None):
        program = [str(args.binaries / "cloud-decoder")]
        if core is not None:
            program = ["taskset", "-c", str(core), *program]
        settings = {
            "CLOUD_DECODER_ROLE": role,
            "CLOUD_DECODER_HTTP__LISTEN": "127.0.0.1:0",
            "CLOUD_DECODER_GRPC__LISTEN": "127.0.0.1:0",
            "CLOUD_DECODER_DECODE__WORKERS": "1",
            "CLOUD_DECODER_DECODE__THREADS": "1",
            "CLOUD_DECODER_LOG__FILTER": "warn",
        }
        self.role = role
        self.process = subprocess.Popen(
            program, env={**os.environ, **settings, **variables}, stdout=subprocess.PIPE, text=True
        )
        stack.callback(stop, self.process)
        words = dict(word.split("=") for word in self.process.stdout.readline().split()[1:])
        self.http, self.grpc = words["http"], words["grpc"]
        wait(f"{role} is ready", lambda: urllib.request.urlopen(f"http://{self.http}/readyz"))

    def cpu_s(self):
        return cpu_s(self.process.pid)

    def decodes(self):
        """Frames that this process has decoded."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        counts = [line.split()[-1] for line in lines if line.startswith("cloud_decoder_decoded_total")]
        return int(sum(map(float, counts)))


def load(args, cloud, frames):
    """Sends about so many frames; returns their number."""
    command = [args.load, "load", "--cloud", f"http://{cloud.grpc}", "--nodes", "20", "--rate", str(args.rate)]
    command += ["--seconds", str(max(1, round(frames / args.rate))), "--size", args.size, "--json", "-"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    figures = json.loads(output)
    assert figures["acked"] == figures["offered"], figures
    return figures["acked"]


def summary(cloud):
    return get(cloud.http, "/api/v1/summary")


def drained(web):
    # Rarely, because polling costs processor time too.
    wait("all frames are decoded", lambda: summary(web)["queued"] == 0, 2)


def cost(args, name, web, clouds, engines, ingest):
    """Processor seconds a frame of each process, from the first frame's arrival until the last is decoded."""
    # The first frames also pay for connections, buffers and caches.
    load(args, ingest, 10)
    drained(web)
    watched = {cloud.role: cloud.cpu_s for cloud in clouds}
    watched |= {name: (lambda pid=process.pid: cpu_s(pid)) for name, process in engines.items()}
    before = {key: measure() for key, measure in watched.items()}
    frames = load(args, ingest, args.frames)
    drained(web)
    milliseconds = {key: 1e3 * (measure() - before[key]) / frames for key, measure in watched.items()}
    ours = sum(milliseconds[cloud.role] for cloud in clouds)
    print(f"{name}: {frames} frames, cloud-decoder {ours:.1f} ms a frame, with the engines {sum(milliseconds.values()):.1f}")
    for key, value in milliseconds.items():
        print(f"    {key:12} {value:8.1f} ms")
    return {"frames": frames, "cpu_ms": milliseconds, "cloud_decoder_ms": ours}


def embedded(args):
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cloud = Cloud(stack, args, "all", {"CLOUD_DECODER_DATA_DIR": str(folder)})
        figures = cost(args, "embedded", cloud, [cloud], {}, cloud)
        held = summary(cloud)["frames"]
        sizes = {}
        for path in filter(pathlib.Path.is_file, (folder / "objects").rglob("*")):
            sizes[path.suffix] = sizes.get(path.suffix, 0) + path.stat().st_size
        sizes = {kind: round(size / held) for kind, size in sizes.items()}
        print(f"    bytes a frame: {sizes}")
        return figures | {"bytes": sizes}


def in_roles(args):
    with contextlib.ExitStack() as stack:
        engines = Engines(stack)
        clouds = [Cloud(stack, args, role, engines.variables) for role in ("ingest", "decode", "web")]
        ingest, _, web = clouds
        return cost(args, "in roles", web, clouds, engines.processes, ingest)


def replicas(args, count):
    """Decode processes with one thread and one core each, over waiting frames."""
    cores = sorted(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        engines = Engines(stack)
        ingest = Cloud(stack, args, "ingest", engines.variables)
        web = Cloud(stack, args, "web", engines.variables)
        frames = load(args, ingest, args.frames)
        decoders = [
            Cloud(stack, args, "decode", engines.variables, cores[number % len(cores)]) for number in range(count)
        ]
        begun, left = time.monotonic(), summary(web)["queued"]
        before = [(decoder.decodes(), decoder.cpu_s()) for decoder in decoders]
        drained(web)
        wall = time.monotonic() - begun
        shares = [
            (decoder.decodes() - decoded, decoder.cpu_s() - cpu)
            for decoder, (decoded, cpu) in zip(decoders, before)
        ]
    # With a core each, every one would do as many frames a second as it did in a second of a processor.
    rate = sum(frames / cpu for frames, cpu in shares if cpu)
    decoded, cpu = sum(frames for frames, _ in shares), sum(cpu for _, cpu in shares)
    busy = cpu / wall
    print(f"{count} decode: {decoded} frames {[frames for frames, _ in shares]}, {cpu / decoded * 1e3:.1f} ms a frame, "
          f"{decoded / wall:.2f} frames/s on {busy:.2f} cores, {rate:.2f} with a core each")
    return {"decode": count, "shares": shares, "wall_s": wall, "cores": busy, "frames_per_s": decoded / wall,
            "frames_per_s_of_a_core_each": rate, "of": frames, "left": left}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release", metavar="DIR")
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="frames of each measurement")
    parser.add_argument("--rate", type=float, default=20, metavar="FPS", help="at which they are sent")
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of embedded and in roles, in turn")
    parser.add_argument("--replicas", type=int, default=3, metavar="N", help="most decode processes")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    args = parser.parse_args()
    args.load = os.environ.get("PATCHWIRE", args.binaries / "patchwire")
    figures = {"size": args.size, "embedded": [], "in_roles": []}
    # Alternately, so that other work on the machine affects both.
    for _ in range(args.rounds):
        figures["embedded"].append(embedded(args))
        figures["in_roles"].append(in_roles(args))
    medians = [
        statistics.median(row["cloud_decoder_ms"] for row in figures[name]) for name in ("embedded", "in_roles")
    ]
    print(f"median: embedded {medians[0]:.1f} ms a frame, in roles {medians[1]:.1f}, {medians[1] / medians[0] - 1:+.1%}")
    figures["replicas"] = [replicas(args, count) for count in range(1, args.replicas + 1)]
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
