#!/usr/bin/env python3
"""An RTSP camera for tests (RFC 2326, interleaved): plays an MPEG transport stream to whoever asks, and hangs up.

deploy/rtsp-camera.py FILE.ts prints its port and serves until it is killed.
"""

import socketserver
import struct
import sys
import time

PIECE = 7 * 188  # packets of a transport stream in one of RTP (RFC 2250)
SDP = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
ANSWERS = {
    "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n", ""),
    "DESCRIBE": ("Content-Type: application/sdp\r\n", SDP),
    "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n", ""),
}


class Camera(socketserver.StreamRequestHandler):
    def asked(self):
        """The method and number of the next request, or None at the end."""
        lines = []
        while (line := self.rfile.readline()) not in (b"", b"\r\n"):
            lines.append(line.decode().strip())
        if not lines:
            return None
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        return lines[0].split(" ")[0], headers.get("CSeq", "0")

    def handle(self):
        try:
            while asked := self.asked():
                method, number = asked
                headers, body = ANSWERS.get(method, ("Session: 1\r\n", ""))
                head = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
                self.wfile.write((head + body).encode())
                if method == "PLAY":
                    return self.play()
        except OSError:
            pass  # It was watched long enough.

    def play(self):
        for number, begin in enumerate(range(0, len(VIDEO), PIECE)):
            payload = VIDEO[begin : begin + PIECE]
            rtp = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900 & 0xFFFFFFFF, 1) + payload
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
            time.sleep(0.005)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with open(sys.argv[1], "rb") as file:
    VIDEO = file.read()
with Server(("0.0.0.0", 0), Camera) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
