"""Both services as processes of their own, on ports and in a folder of their own."""

import http.client
import json
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

REPOSITORY = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ.get("PATCHWIRE_BINARIES", REPOSITORY / "target/debug"))
SAMPLES = REPOSITORY / "cli/samples"


def chromium() -> str:
    """The installed browser; `.ci/browser` installs one on Debian."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise RuntimeError("no Chromium is installed; .ci/browser installs Debian's, CHROMIUM names another")
    return found


class Service:
    """A started binary and the addresses that it says it listens on."""

    def __init__(self, name: str, folder: Path, **settings):
        sets = [part for key, value in settings.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]
        self.log = open(folder / f"{name}.log", "ab")
        self.process = subprocess.Popen(
            [BINARIES / name, "--http-listen", "127.0.0.1:0", *sets],
            cwd=folder, stdout=subprocess.PIPE, stderr=self.log, text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening "):
            raise RuntimeError(f"{name} does not start:\n{(folder / f'{name}.log').read_text()}")
        self.addresses = dict(re.findall(r"(\w+)=(\S+)", line))
        self.url = f"http://{self.addresses['http']}"

    def json(self, path: str):
        with urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()


class Pair:
    """A cloud decoder and an edge node that attaches every original."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.cloud = Service("cloud-decoder", folder, grpc__listen="127.0.0.1:0", data_dir="cloud", decode__max_attempts=1)
        self.edge = Service(
            "edge-node", folder, node_id="edge-1", originals_share=1.0, spool__path="spool.sqlite",
            uplink__endpoint=f"http://{self.cloud.addresses['grpc']}",
        )

    def send(self, camera: str, sample: str = "lake.jpg", task: str = "both") -> str:
        """Posts a sample photograph; its frame id."""
        request = Request(
            f"{self.edge.url}/v1/frames?camera={camera}&task={task}",
            data=(SAMPLES / sample).read_bytes(), headers={"content-type": "image/jpeg"},
        )
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["frame_id"]

    def lose_latents(self, frame: str):
        """What a failing disk may do."""
        found = list((self.folder / "cloud/objects/latents").rglob(f"{frame}.pwl"))
        assert len(found) == 1, f"latents of {frame}: {found}"
        found[0].unlink()

    def stop(self):
        self.edge.stop()
        self.cloud.stop()


class Proxy(ThreadingHTTPServer):
    """A reverse proxy that has a service at a prefix, which it takes off, and nothing elsewhere."""

    daemon_threads = True

    def __init__(self, address: str, prefix: str):
        self.address, self.prefix = address, prefix
        super().__init__(("127.0.0.1", 0), Behind)
        self.url = f"http://127.0.0.1:{self.server_address[1]}{prefix}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A browser that goes away is no error."""

    def stop(self):
        self.shutdown()
        self.server_close()


class Behind(BaseHTTPRequestHandler):
    """A request to the proxy; each answer ends its connection."""

    def handle_request(self):
        if not self.path.startswith(self.server.prefix + "/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        upstream = http.client.HTTPConnection(self.server.address)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        upstream.request(self.command, self.path.removeprefix(self.server.prefix), body, headers)
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        while piece := answer.read1(1 << 16):
            self.wfile.write(piece)
            self.wfile.flush()
        upstream.close()

    do_GET = do_POST = do_DELETE = do_HEAD = handle_request

    def log_message(self, *_):
        pass
