# SPDX-License-Identifier: GPL-3.0-or-later
"""A second decoder of the ``.s2d`` container, keypoints, certainty and camera motion, of both versions.

Pictures it leaves to a decoder of AV1: it hands over their bytes.

Written from docs/FORMAT.md alone, it shares no code with the package: plain Python integers, and numpy only
to read the tables.
"""

import struct
import zlib
from bisect import bisect_left
from pathlib import Path

import numpy as np

TABLES = Path(__file__).parents[3] / "models" / "weights" / "keypoint_motion.npz"

NAMES = ["nose", "left_ear", "right_ear"] + [
    f"{side}_{joint}"
    for joint in "shoulder elbow wrist pinky index hip knee ankle heel foot_index".split()  # noqa: SIM905
    for side in ("left", "right")
]
KINDS = {
    "left_hip": "right_shoulder right_hip left_shoulder left_knee",
    "right_hip": "left_hip right_shoulder left_shoulder right_knee",
    "shoulder": "S_hip O_hip O_shoulder S_elbow",
    "knee": "S_hip O_hip S_shoulder S_ankle",
    "elbow": "S_shoulder O_shoulder S_hip S_wrist",
    "nose": "left_shoulder right_shoulder left_hip right_hip",
    "ankle": "S_knee S_hip O_hip S_heel",
    "wrist": "S_elbow S_shoulder O_shoulder S_index",
    "left_ear": "nose left_shoulder right_shoulder right_ear",
    "right_ear": "nose right_shoulder left_shoulder left_ear",
    "heel": "S_ankle S_knee S_hip S_foot_index",
    "pinky": "S_wrist S_elbow S_shoulder S_index",
    "foot_index": "S_heel S_ankle S_knee S_hip",
    "index": "S_pinky S_wrist S_elbow S_shoulder",
}
LEVELS = [
    ["left_hip"],
    ["right_hip"],
    ["shoulder"],
    ["nose", "elbow", "knee"],
    ["left_ear", "wrist", "ankle"],
    ["right_ear", "pinky", "heel"],
    ["index", "foot_index"],
]
KIND = [name if name in KINDS else name.split("_", 1)[1] for name in NAMES]


def _relatives(point):
    same, other = ("left", "right") if NAMES[point].startswith("left") else ("right", "left")
    names = KINDS[KIND[point]].replace("S_", same + "_").replace("O_", other + "_").split()
    return [NAMES.index(name) for name in names]


RELATIVES = [_relatives(point) for point in range(23)]
ORDER = [[p for p in range(23) if KIND[p] in kinds] for kinds in LEVELS]


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values if len(values) > 1 else values[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self):
        n = self.varint()
        return n // 2 if n % 2 == 0 else -(n + 1) // 2

    def text(self):
        return self.take(f"{self.varint()}s").decode("ascii")


def read(path):
    """Return what the file says of its shot and its first person as a dict, and the keypoints in metres."""
    shot = read_shot(path)
    person = shot["people"][0]
    return shot | person, person["keypoints"]


def read_shot(path):
    """Return the shot as a dict; its ``people`` are dicts with ``keypoints`` ``(T, 23, 3)`` in metres."""
    data = Path(path).read_bytes()
    shot, at = read_head(data)
    version, frames, flags = (shot[name] for name in ("version", "frames", "flags"))
    (width, height), (numerator, denominator) = shot["size"], shot["fps"]
    shot["parts"] = []
    for entry in shot["table"]:
        entry["data"] = data[at : at + entry["length"]]
        assert zlib.crc32(entry["data"]) == entry["crc"]
        at += entry["length"]
        optional = [(32, 1, False), (35, 1, False)]
        if entry["kind"] < 32 or (entry["kind"], entry["version"], entry["person"] is None) in optional:
            shot["parts"].append(entry)  # all others are passed over
    assert at == len(data)

    def part(kind, person=None):
        found = [e["data"] for e in shot["parts"] if (e["kind"], e["person"]) == (kind, person)]
        return found[0] if found else None

    def groups_of(track, index, count):
        """Return the frames and the bytes of each group of ``count`` frames in all."""
        starts = range(0, count, shot["group"])
        lengths = [index.varint() for _ in starts]
        for start, length in zip(starts, lengths, strict=True):
            yield min(shot["group"], count - start), track.take(f"{length}s")
        assert track.at == len(track.data) and index.at == len(index.data)

    for number, person in enumerate(shot["people"]):
        track = Bytes(part(3, number))
        index = Bytes(part(4, number)) if version == 1 else track
        keypoints = []
        for count, group in groups_of(track, index, person["frames"]):
            k, coded = (group[0], group[1:]) if person["spaced"] else (1, group)
            coded = decode_group(coded, -(-(count - 1) // k) + 1)
            between_them = between(coded, k)[:count]
            keypoints += [[[v / (2 * k**3) for v in p] for p in frame] for frame in between_them]
        person["keypoints"] = np.array(keypoints) * (person["step"] * 1e-6 / 262144)
        if (certainty := part(32, number)) is not None:
            person["certainty"] = decode_certainty(certainty, person["frames"], numerator, denominator)
        if (texture := part(35, number)) is not None:
            side = Bytes(texture).take("H")
            assert 64 <= side <= 2048
            person["texture"] = side, texture[2:]
    if flags & 2:
        motion, views = Bytes(part(5)), []
        for count, group in groups_of(motion, motion, frames):
            views += decode_views(group, count, width, height)
        shot["views"] = np.array(views)
    shot["kinds"] = sorted({entry["kind"] for entry in shot["parts"]})
    return shot


def read_head(data):
    """Return what the header says, with all entries of its tables, and where the first part starts."""
    file = Bytes(data)
    magic, version, size = file.take("4sBH")
    assert magic == b"\x89S2D" and version in (1, 2)
    assert struct.unpack_from("<I", data, 7 + size)[0] == zlib.crc32(data[: 7 + size])
    schema, flags = file.take("BB")
    assert (schema, flags >> 4) == (1, 0)
    frames, numerator, denominator, width, height = (file.varint() for _ in range(5))
    shot = {
        "version": version,
        "flags": flags,
        "frames": frames,
        "fps": (numerator, denominator),
        "size": (width, height),
    }
    (read_version_1 if version == 1 else read_version_2)(file, shot)
    assert file.at == 7 + size
    return shot, 7 + size + 4


def read_version_1(file, shot):
    shot["camera"] = file.take("4f")
    person = {"first": 0, "frames": shot["frames"], "spaced": shot["flags"] & 8}
    read_body(file, person)
    shot["group"] = file.varint()
    shot["networks"] = {file.take("B"): file.take("4s") for _ in range(file.varint())}
    shot["people"] = [person]
    table = [(file.take("B"), file.varint(), file.take("I")) for _ in range(file.varint())]
    shot["table"] = [
        {
            "person": None if kind in (2, 5) else 0,
            "kind": kind,
            "version": None,
            "length": length,
            "crc": crc,
        }
        for kind, length, crc in table
    ]


def read_version_2(file, shot):
    width, height = shot["size"]
    fx = file.take("f")
    fy = file.take("f") if shot["flags"] & 4 else fx
    middle = file.take("2f") if shot["flags"] & 8 else (width / 2, height / 2)
    shot["camera"] = (fx, fy, *middle)
    shot["group"] = file.varint()
    shot["networks"] = {file.take("B"): file.take("4s") for _ in range(file.varint())}
    shot["people"] = [{} for _ in range(file.varint())]
    assert 1 <= len(shot["people"]) <= 8
    shot["table"], shot["tables"] = [], {}
    read_table(file, shot, None)
    for number, person in enumerate(shot["people"]):
        flags = file.take("B")
        assert flags < 4
        first, frames = (file.varint(), file.varint()) if flags & 1 else (0, shot["frames"])
        assert 1 <= frames <= shot["frames"] - first
        person |= {"first": first, "frames": frames, "spaced": flags & 2}
        read_body(file, person)
        read_table(file, shot, number)


def read_body(file, person):
    person["body"] = file.text()
    person["shape"] = np.frombuffer(file.take(f"{2 * file.varint()}s"), "<f2").astype(np.float32)
    person["step"] = file.varint()


def read_table(file, shot, person):
    start = file.at
    for _ in range(file.varint()):
        kind = file.take("B")
        version = file.take("B") if kind >= 32 else None
        length, crc = file.varint(), file.take("I")
        entry = {"person": person, "kind": kind, "version": version, "length": length, "crc": crc}
        shot["table"].append(entry)
    shot["tables"][person] = slice(start, file.at)  # where it lies in the file


def decode_certainty(data, frames, numerator, denominator):
    """Return the six regions' levels, 0 to 3, of every frame."""
    held = -(-numerator // (5 * denominator))
    count = -(-frames // held)
    inflater = zlib.decompressobj(-15)
    packed = inflater.decompress(data)
    assert inflater.eof and not inflater.unused_data and len(packed) == -(-6 * count // 4)
    changes = [packed[i // 4] >> 6 - 2 * (i % 4) & 3 for i in range(6 * count)]
    regions = []
    for region in range(6):
        level, levels = 3, []
        for change in changes[region * count : (region + 1) * count]:
            level = (level + change) % 4
            levels.append(level)
        regions.append(levels)
    return [[levels[t // held] for levels in regions] for t in range(frames)]


class RangeDecoder:
    def __init__(self, words):
        self.words = iter(words)
        self.lower, self.range = 0, 2**64 - 1
        self.point = self.next() << 32 | self.next()

    def next(self):
        return next(self.words, 0)

    def symbol(self, row):
        m, total, left = len(row), 0, []
        for i, frequency in enumerate(row):
            left.append((total * (2**24 - m) >> 16) + i)
            total += frequency
        left.append(2**24)
        scale = self.range >> 24
        q = (self.point - self.lower) % 2**64 // scale
        assert q < 2**24
        i = max(i for i in range(m) if left[i] <= q)
        self.lower = (self.lower + scale * left[i]) % 2**64
        self.range = scale * (left[i + 1] - left[i])
        if self.range < 2**32:
            self.lower = (self.lower << 32) % 2**64
            self.range <<= 32
            self.point = (self.point << 32) % 2**64 | self.next()
        return i


def decode_group(data, frames):
    """Return the smoothed keypoints of a group as nested lists, in 1/4096 lattice unit."""
    with np.load(TABLES) as file:
        tables = {name: file[name].tolist() for name in file.files}
    kinds = [list(KINDS).index(kind) for kind in KIND]
    reader = Bytes(data)
    escapes = reader.varint()
    first = [None] * 23
    for point in (p for level in ORDER for p in level):
        difference = [reader.signed() for _ in range(3)]
        base = [0, 0, 0] if KIND[point] == "left_hip" else first[RELATIVES[point][0]]
        first[point] = [a + b for a, b in zip(base, difference, strict=True)]
    escaped = iter([reader.signed() for _ in range(escapes)])
    words = data[reader.at :]
    coder = RangeDecoder(struct.unpack(f"<{len(words) // 4}I", words))

    x = [[[64 * v for v in p] for p in first]]
    u = [[[0] * 3 for _ in range(23)]]
    turn, f, g = [256] * 23, [[2800] * 3 for _ in range(23)], [8400] * 23
    for t in range(1, frames):
        past = [x[max(t - 1 - k, 0)] for k in range(5)]
        s = [[[past[k][p][c] - past[k + 1][p][c] for c in range(3)] for p in range(23)] for k in range(4)]
        d, a, predicted = ([[0] * 3 for _ in range(23)] for _ in range(3))
        for level in ORDER:
            rows, found = {}, {}
            for p in level:
                r = RELATIVES[p]
                weights = tables["prediction"][kinds[p]][bisect_left(tables["class_edges"], turn[p])]
                for c in range(3):
                    taps = [s[k][p][c] for k in range(4)]
                    taps += [s[0][q][c] for q in r] + [s[1][q][c] for q in r]
                    taps += [d[q][c] for q in r]
                    moved = sum(tap * weight for tap, weight in zip(taps, weights, strict=True))
                    predicted[p][c] = past[0][p][c] + (moved + 2048 >> 12)
                    sizes = [4096, f[p][c], sum(f[p]), g[p], 64 * abs(s[0][p][c])]
                    sizes += [
                        64 * sum(map(abs, s[0][p])),
                        64 * sum(abs(s[0][p][i] - s[1][p][i]) for i in range(3)),
                    ]
                    sizes += [sum(map(sum, f)), a[r[0]][c], sum(a[r[0]]), sum(a[r[1]]), sum(map(sum, a))]
                    size = sum(v * w for v, w in zip(sizes, tables["scale"][kinds[p]], strict=True))
                    rows[p, c] = bisect_left(tables["scale_edges"], size >> 12)
            for p in level:
                for c in range(3):
                    symbol = coder.symbol(tables["frequencies"][rows[p, c]])
                    found[p, c] = symbol - 24 if symbol < 49 else next(escaped)
            for (p, c), residual in found.items():
                d[p][c] = predicted[p][c] + 64 * residual - past[0][p][c]
                a[p][c] = 4096 * abs(residual)
        x.append([[past[0][p][c] + d[p][c] for c in range(3)] for p in range(23)])
        u.append([[predicted[p][c] - x[t][p][c] for c in range(3)] for p in range(23)])
        for p in range(23):
            change = sum(abs(d[p][c] - s[0][p][c]) for c in range(3))
            turn[p] += (change - turn[p]) * 80 >> 8
            f[p] = [f[p][c] + (a[p][c] - f[p][c] >> 1) for c in range(3)]
            g[p] += sum(a[p]) - g[p] >> 4
    return smoothed(tables, kinds, x, u)


def between(coded, k):
    """Return every frame of a group of which every k-th is ``coded``, times 2 k³, as nested lists."""

    def on_curve(a, b, c, d, j):
        return (
            (-(j**3) + 2 * k * j**2 - k**2 * j) * a
            + (3 * j**3 - 5 * k * j**2 + 2 * k**3) * b
            + (-3 * j**3 + 4 * k * j**2 + k**2 * j) * c
            + (j**3 - k * j**2) * d
        )

    def sample(i, p, c):
        if i < 0:
            return 2 * coded[0][p][c] - coded[1][p][c]
        if i == len(coded):
            return 2 * coded[-1][p][c] - coded[-2][p][c]
        return coded[i][p][c]

    frames = []
    for t in range((len(coded) - 1) * k):
        i, j = divmod(t, k)
        frames.append(
            [
                [on_curve(*(sample(i + q, p, c) for q in (-1, 0, 1, 2)), j) for c in range(3)]
                for p in range(23)
            ]
        )
    return [*frames, [[2 * k**3 * v for v in p] for p in coded[-1]]]


def decode_views(data, frames, width, height):
    """Return the corners of a group's canvases in the plate as nested lists, in pixels."""
    with np.load(TABLES) as file:
        edges, frequencies = file["scale_edges"].tolist(), file["frequencies"].tolist()
    reader = Bytes(data)
    escapes = reader.varint()
    x0 = [reader.signed() for _ in range(8)]
    x1 = list(x0)
    escaped = iter([reader.signed() for _ in range(escapes)])
    words = data[reader.at :]
    coder = RangeDecoder(struct.unpack(f"<{len(words) // 4}I", words))
    costs, u, v = [[0, 0, 0] for _ in range(8)], [4096] * 8, [4096] * 8
    views = [corners_of(x0, width, height)]
    for _ in range(1, frames):
        for k in range(8):
            step = x0[k] - x1[k]
            guesses = [x0[k], x0[k] + (step >> 1), x0[k] + step]
            predicted = guesses[costs[k].index(min(costs[k]))]
            symbol = coder.symbol(frequencies[bisect_left(edges, u[k] + v[k] >> 1)])
            residual = symbol - 24 if symbol < 49 else next(escaped)
            x1[k], x0[k] = x0[k], predicted + residual
            costs[k] = [c + (4096 * abs(x0[k] - g) - c >> 3) for c, g in zip(costs[k], guesses, strict=True)]
            u[k] += 4096 * abs(residual) - u[k] >> 2
            v[k] += 4096 * abs(residual) - v[k] >> 4
        views.append(corners_of(x0, width, height))
    return views


def corners_of(x, width, height):
    signs = [(1, -1, -1, 1), (1, 1, -1, -1), (1, 1, 1, 1), (1, -1, 1, -1)]
    places = [(0, 0), (width, 0), (width, height), (0, height)]
    unit = min(width, height) / 2048
    return [
        [place[c] + unit * sum(s * x[2 * i + c] for i, s in enumerate(row)) for c in range(2)]
        for row, place in zip(signs, places, strict=True)
    ]


def smoothed(tables, kinds, x, u):
    def at(track, t):
        return track[min(max(t, 0), len(track) - 1)]

    def bend(t, p):
        t = min(max(t, 0), len(x) - 1)
        return sum(abs(at(x, t + 1)[p][c] - 2 * x[t][p][c] + at(x, t - 1)[p][c]) for c in range(3))

    out = []
    for t in range(len(x)):
        frame = []
        for p in range(23):
            r = RELATIVES[p][0]
            w = sum(weight * bend(t + k - 2, p) for k, weight in enumerate((1, 2, 3, 2, 1)))
            weights = tables["refine"][kinds[p]][bisect_left(tables["refine_edges"], w)]
            point = []
            for c in range(3):
                taps = [at(x, t + k)[p][c] - x[t][p][c] for k in (-1, 1, -2, 2, -3, 3, -4, 4)]
                taps += [at(x, t + k)[r][c] - x[t][r][c] for k in (-1, 1, -2, 2)]
                taps += [at(u, t + k)[p][c] for k in range(3)] + [u[t][r][c]]
                correction = sum(tap * weight for tap, weight in zip(taps, weights, strict=True))
                point.append(4096 * x[t][p][c] + correction)
            frame.append(point)
        out.append(frame)
    return out
