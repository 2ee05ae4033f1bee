# SPDX-License-Identifier: GPL-3.0-or-later
"""The syntax of BVH: a hierarchy of joints, and the numbers of their channels in every frame."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ...models.errors import InputError
from ...models.frame_rates import rate_of_frame_time
from .text_files import parse_numbers

_MOST_JOINTS = 2000
_CHANNEL = re.compile(r"([XYZ])(rotation|position)", re.IGNORECASE)


@dataclass
class Joint:
    """A joint, or the end of a limb: where it is in its parent's axes, and what its numbers are."""

    name: str
    parent: int  # index, -1 for a root
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    channels: list[tuple[str, int]] = field(default_factory=list)  # "rotation" or "position", and the axis
    first_channel: int = 0
    is_end: bool = False

    def columns(self, kind: str) -> list[tuple[int, int]]:
        """Return the column and the axis of each channel that is a ``rotation``, or a ``position``."""
        numbered = enumerate(self.channels, self.first_channel)
        return [(column, axis) for column, (what, axis) in numbered if what == kind]


@dataclass(frozen=True)
class BvhFile:
    """What a BVH file holds.

    Attributes:
        joints: a parent before its children; end sites are joints without channels.
        fps: frames a second.
        values: ``(T, C)`` of all channels; a joint's begin at its ``first_channel``, turns in degrees.
        warnings: what a user should know of how it was read.
    """

    joints: list[Joint]
    fps: Fraction
    values: np.ndarray
    warnings: tuple[str, ...] = ()


def parse_bvh(text: str) -> BvhFile:
    """Parse a BVH file. Raises InputError that names the line at fault."""
    start = re.search(r"^[ \t]*MOTION[ \t]*$", text, re.MULTILINE | re.IGNORECASE)
    if start is None:
        raise InputError("not_motion", "it has no line MOTION: the file is cut off, or no BVH.")
    joints = _read_hierarchy(text[: start.start()])
    channels = sum(len(joint.channels) for joint in joints)
    line = text.count("\n", 0, start.end()) + 1
    fps, values, told = _read_frames(text[start.end() :], line, channels)
    return BvhFile(joints, fps, values, tuple(told))


def _read_hierarchy(text: str) -> list[Joint]:
    """Read the joints, a parent before its children; end sites are joints without channels."""
    joints: list[Joint] = []
    opened: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith(("#", "//")):
            continue
        for piece in re.split(r"([{}])", line):
            try:
                _read_piece(piece.split(), joints, opened)
            except (IndexError, ValueError):
                raise InputError(
                    "not_motion", f"line {number}: '{piece.strip()[:40]}' has no meaning there."
                ) from None
            if len(joints) > _MOST_JOINTS:
                raise InputError("not_motion", f"it has more than {_MOST_JOINTS} joints: it is no person.")
    if opened:
        raise InputError("not_motion", f"the joint {joints[opened[-1]].name[:40]} is not closed by '}}'.")
    return joints


def _read_piece(words: list[str], joints: list[Joint], opened: list[int]) -> None:
    """Read one line of the hierarchy, or a brace; ``opened`` are the joints whose braces are open."""
    kind = words[0].upper() if words else "HIERARCHY"
    if kind == "ROOT":
        joints.append(Joint(" ".join(words[1:]), -1))
    elif kind == "JOINT":
        joints.append(Joint(" ".join(words[1:]), opened[-1]))
    elif kind == "END":
        joints.append(Joint(f"{joints[opened[-1]].name}_End", opened[-1], is_end=True))
    elif kind == "{":
        opened.append(len(joints) - 1)
    elif kind == "}":
        opened.pop()
    elif kind == "OFFSET":
        x, y, z = (_number(word) for word in words[1:4])
        joints[opened[-1]].offset = np.array([x, y, z])
    elif kind == "CHANNELS":
        _add_channels(joints, opened[-1], words)
    elif kind != "HIERARCHY":
        raise ValueError


def _number(word: str) -> float:
    value = float(word.replace(",", "."))
    if not np.isfinite(value):
        raise ValueError
    return value


def _add_channels(joints: list[Joint], at: int, words: list[str]) -> None:
    joint = joints[at]
    found = [_CHANNEL.fullmatch(word) for word in words[2:]]
    if len(found) != int(words[1]) or joint.channels:
        raise ValueError
    joint.first_channel = sum(len(other.channels) for other in joints)
    for match in found:
        if match is None:
            raise ValueError
        joint.channels.append((match[2].lower(), "XYZ".index(match[1].upper())))


def _read_frames(text: str, first_line: int, channels: int) -> tuple[Fraction, np.ndarray, list[str]]:
    """Return the rate, the values ``(T, C)`` and warnings of what stands after the line MOTION."""
    head = re.match(r"\s*Frames:\s*(\d{1,9})\s*\n\s*Frame\s+Time:\s*(\S+)[^\n]*(?:\n|$)", text, re.IGNORECASE)
    if head is None:
        raise InputError("not_motion", f"line {first_line}: 'Frames:' and 'Frame Time:' must follow MOTION.")
    try:
        fps = rate_of_frame_time(head[2].replace(",", "."))
    except ValueError:
        raise InputError("bad_fps", f"Frame Time: '{head[2][:20]}' is no time in seconds.") from None
    numbers = parse_numbers(text[head.end() :], first_line + head[0].count("\n"))
    if channels == 0 or len(numbers) == 0:
        raise InputError("not_motion", "it has no motion: no channels or no frames.")
    frames, rest = divmod(len(numbers), channels)
    if rest:
        raise InputError(
            "not_motion",
            f"frame {frames} ends after {rest} of {channels} numbers: it is cut off, or a line has too many.",
        )
    told = (
        []
        if frames == int(head[1])
        else [f"the file names {head[1]} frames and has {frames}, which are read"]
    )
    return fps, numbers.reshape(frames, channels), told
