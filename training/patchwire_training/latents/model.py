"""An independent model of the latent codec, written from ``docs/formats.md`` and slow: it codes, and does not decode.

A frame is a `Frame`; its patches are rows of 0 and 1. `Stream` codes frames as an uplink stream does, with the camera's
frame before as reference.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

import numpy as np

PATCH = 32
NAMED, SELECTED, INPUTS, CELLS, LANES, OWN_SETS, SHARED_SETS = 7, 3, 6, 128, 8, 8, 128
PLANES = (
    "own left above above_left above_right before changed surprise left_changed above_changed mostly sure".split()
)
PLACE = np.dtype(
    [("names", "<u2", (SELECTED, NAMED)), ("cells", "i1", (INPUTS, CELLS)), ("weights", "<i2", (OWN_SETS, LANES))]
)
KNOTS = [22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768]
KNOTS += [65536 - knot for knot in reversed(KNOTS[:-1])]
EVERY = [1, 1, 1, 2, 4, 4, 8, 8]
"""A state of this confidence becomes surer in every so many frames."""


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) of bytes, one bit after the other."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@dataclass
class Frame:
    """Latents of a frame: bits [rows, columns, bits of a patch] of 0 and 1."""

    width: int
    height: int
    program: bytes
    bits: np.ndarray

    def container(self) -> bytes:
        """The frame as a latent container."""
        head = struct.pack("<4sBBHII32s", b"PWL1", 1, 0, self.bits.shape[2], self.width, self.height, self.program)
        body = head + np.packbits(self.bits, axis=2, bitorder="little").tobytes()
        return body + struct.pack("<I", crc32c(body))


@dataclass
class Statistics:
    """Of one mode: weights that learn, and places."""

    shared: np.ndarray
    places: np.ndarray


class Prior:
    """A prior's file."""

    def __init__(self, file: bytes):
        magic, self.program, self.bits = struct.unpack_from("<4s32sH", file)
        assert magic == b"PWP1"
        self.id = hashlib.sha256(file).digest()[:8]
        at, modes = 38, []
        for _ in range(2):
            shared = np.frombuffer(file, "<i2", SHARED_SETS * LANES, at).reshape(SHARED_SETS, LANES)
            at += shared.nbytes
            places = np.frombuffer(file, PLACE, 2 * self.bits, at)
            at += places.nbytes
            modes.append(Statistics(shared.astype(int), places))
        assert at == len(file)
        self.intra, self.inter = modes


@dataclass
class Reference:
    """The last frame of a camera, and the states of its bits, by the frames before it."""

    frame: Frame
    states: np.ndarray = None
    frames: int = 0

    def __post_init__(self):
        self.states = begin(self.frame.bits)

    def follow(self, frame: Frame) -> None:
        """Take the next frame."""
        self.states = np.vectorize(lambda state, bit: step(int(state), int(bit), self.frames))(
            self.states, self.frame.bits
        )
        self.frames += 1
        old, new = self.states.shape[2], frame.bits.shape[2]
        if old != new:
            begun = begin(frame.bits)
            begun[:, :, : min(old, new)] = self.states[:, :, : min(old, new)]
            self.states = begun
        self.frame = frame


def begin(bits: np.ndarray) -> np.ndarray:
    """States of bits that were seen once."""
    return np.where(bits == 1, 10, 5)


def step(state: int, bit: int, frame: int) -> int:
    """The state after one more bit."""
    mostly = int(state >= 8)
    confidence = state - 8 if mostly else 7 - state
    if bit == mostly:
        if frame % EVERY[confidence] == 0:
            confidence = min(confidence + 1, 7)
    elif confidence >= 2:
        confidence -= 2
    else:
        mostly, confidence = bit, 0
    return 8 + confidence if mostly else 7 - confidence


def probability(logit: int) -> int:
    """Of a one, in 65,536."""
    knot, part = divmod(logit + 2048, 128)
    low, high = KNOTS[knot], KNOTS[knot + 1]
    return low + ((high - low) * part + 64) // 128


def clamp(value: int) -> int:
    """A logit within its range."""
    return max(-2047, min(2047, value))


def bucket(value: int, limits: tuple[int, ...]) -> int:
    """How many limits a value has reached."""
    return sum(value >= limit for limit in limits)


UNLIKE, MOVED, RESTLESS = (32, 64, 90, 115, 140), (1, 6, 12, 20, 36, 64), (1, 4, 12, 30, 70, 130)


class Coder:
    """The arithmetic coder."""

    def __init__(self):
        self.low, self.high, self.bytes = 0, 0xFFFFFFFF, bytearray()

    def code(self, one: int, bit: int) -> None:
        """Code a bit, which is 1 with this probability in 65,536."""
        split = self.low + ((self.high - self.low) * one >> 16)
        if bit:
            self.high = split
        else:
            self.low = split + 1
        while self.low >> 24 == self.high >> 24:
            self.bytes.append(self.high >> 24)
            self.low = self.low << 8 & 0xFFFFFFFF
            self.high = (self.high << 8 & 0xFFFFFFFF) | 0xFF

    def finish(self) -> bytes:
        """The shortest bytes that, with zeros behind them, are within the range."""
        for kept in range(5):
            number = self.high >> (32 - 8 * kept) << (32 - 8 * kept)
            if number >= self.low:
                return bytes(self.bytes) + number.to_bytes(4, "big").rstrip(b"\0")
        raise AssertionError("the upper end is within the range")


@dataclass
class Means:
    """How often bits have come otherwise than elsewhere, lately."""

    left: int = 24000
    above: int = 24000
    changed: int = 0
    surprised: int = 0

    def take(self, name: str, differs: int) -> None:
        """Move a mean by a bit."""
        mean = getattr(self, name)
        setattr(self, name, mean + ((differs * 65535 - mean) >> 5))


@dataclass
class Mixer:
    """The weights of a frame in one mode."""

    statistics: Statistics
    fine: np.ndarray = field(init=False)

    def __post_init__(self):
        self.fine = self.statistics.shared << 4

    def code(self, place: int, cells: list[int], own: int, shared: int, bit: int, coder: Coder) -> None:
        """Code a bit in its contexts, and learn from it."""
        statistics = self.statistics.places[place]
        logits = [16 * int(statistics["cells"][i, cell]) for i, cell in enumerate(cells)] + [256, 0]
        logits = np.array(logits)
        rough = np.clip(self.fine[shared] >> 4, -32768, 32767)
        first = clamp(int(statistics["weights"][own].astype(int) @ logits) >> 12)
        second = clamp(int(rough @ logits) >> 12)
        coder.code(probability((first + second) >> 1), bit)
        error = (bit << 15) - (probability(second) >> 1)
        self.fine[shared] += (error * logits + (1 << 16)) >> 17


def encode(prior: Prior, frame: Frame, reference: Reference | None) -> bytes:
    """A frame as it travels."""
    rows, columns, count = frame.bits.shape
    payload = np.packbits(frame.bits, axis=2, bitorder="little").tobytes()
    coder = patches(prior, frame, reference)
    coded, flags = coder.finish(), int(reference is not None)
    if len(coded) >= len(payload):
        coded, flags = payload, 2
    checksum = struct.unpack("<I", frame.container()[-4:])[0]
    head = struct.pack("<BBHHH8sI", 1, flags, count, frame.width, frame.height, prior.id, checksum)
    return head + coded


def patches(prior: Prior, frame: Frame, reference: Reference | None) -> Coder:
    """Code all patches."""
    rows, columns, count = frame.bits.shape
    n = prior.bits
    wide = lambda bits: np.pad(bits, [(0, 0), (0, 0), (0, n - bits.shape[2])])
    bits, known = wide(frame.bits).astype(int), 0
    planes = {name: np.zeros(n, int) for name in PLANES}
    if reference is not None:
        known = min(count, reference.frame.bits.shape[2])
        before, states = wide(reference.frame.bits).astype(int), wide(reference.states)
        changed = wide((bits ^ before)[:, :, :known])
        changes = changed.sum(2)
    coder, intra, inter = Coder(), Mixer(prior.intra), Mixer(prior.inter)
    for y in range(rows):
        for x in range(columns):
            left = (y, x - 1) if x else (y - 1, 0) if y else None
            above = (y - 1, x) if y else left
            above_left = (y - 1, x - 1) if x and y else above
            above_right = (y - 1, x + 1) if y and x + 1 < columns else above
            zeros = np.zeros(n, int)
            around = {"left": left, "above": above, "above_left": above_left, "above_right": above_right}
            planes |= {name: zeros if at is None else bits[at] for name, at in around.items()}
            restless = 0
            if reference is not None:
                planes |= {f"{name}_changed": zeros if around[name] is None else changed[around[name]] for name in ("left", "above")}
                planes |= {"before": before[y, x], "mostly": states[y, x] >> 3}
                planes["sure"] = ((states[y, x] < 3) | (states[y, x] > 12)).astype(int)
                if x:
                    restless += int(changes[y, x - 1])
                if y:
                    restless += int(changes[y - 1, x]) + int(changes[y - 1, min(x + 1, columns - 1)])
            means = Means()
            for k in range(count):
                bit = int(bits[y, x, k])
                named = np.concatenate([planes[name] for name in PLANES])
                place = k + (n * int(planes["own"][0]) if k else 0)
                at = lambda name, k=k: int(planes[name][k])
                mode = inter if k < known else intra
                names = mode.statistics.places[place]["names"]
                cells = [int(named[row] @ (1 << np.arange(NAMED))) for row in names]
                if mode is intra:
                    one, two = bucket(means.left >> 8, UNLIKE), bucket(means.above >> 8, UNLIKE)
                    both = one * 8 + two
                    spatial = [at("left"), at("above"), at("above_left"), at("above_right"), at("left", 0), at("above", 0)]
                    corner = 0
                    for value in spatial:
                        corner = 2 * corner + value
                    cells += [both * 2 + at("left"), both * 2 + at("above"), corner]
                    own, shared = one, both
                else:
                    moved, surprised = bucket(means.changed >> 8, MOVED), bucket(means.surprised >> 8, MOVED)
                    other = int(k > 0 and at("before", 0) != at("own", 0))
                    state = int(states[y, x, k])
                    cells.append((at("before") * 8 + moved) * 8 + bucket(restless, RESTLESS))
                    cells.append(
                        (((at("before") * 2 + at("left_changed")) * 2 + at("above_changed")) * 8 + moved) * 2 + other
                    )
                    cells.append((state * 4 + (0, 1, 2, 2, 3, 3, 3)[surprised]) * 2 + at("before"))
                    own, shared = 7 if other else surprised, state * 8 + surprised
                mode.code(place, cells, own, shared, bit, coder)
                planes["own"][k] = bit
                if mode is intra:
                    means.take("left", bit ^ at("left"))
                    means.take("above", bit ^ at("above"))
                else:
                    differs = bit ^ at("before")
                    planes["changed"][k] = differs
                    planes["surprise"][k] = differs & at("sure")
                    means.take("changed", differs)
                    means.take("surprised", differs & at("sure"))
    return coder


class Stream:
    """Codes frames as they go over a stream whose table of references holds them all."""

    def __init__(self, prior: Prior):
        self.prior = prior
        self.references: dict[tuple[str, int, int], Reference] = {}

    def encode(self, camera: str, frame: Frame) -> bytes:
        """The camera's next frame as it travels."""
        key = camera, frame.width, frame.height
        reference = self.references.get(key)
        coded = encode(self.prior, frame, reference)
        if reference:
            reference.follow(frame)
        else:
            self.references[key] = Reference(frame)
        return coded
