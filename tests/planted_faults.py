# SPDX-License-Identifier: GPL-3.0-or-later
"""Plant faults in the code, one at a time, and see whether the unit tests of its own room notice.

``python tests/planted_faults.py [ROOM ...] --faults 20 --seed 1`` copies the tree aside, changes one line of
a X"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "format": ("inference/format", "tests/inference/format"),
    "decoding": ("inference/decoding", "tests/inference/decoding"),
    "engine": ("s2d_addon/engine", "tests/s2d_addon/engine"),
    "retarget": ("s2d_addon/retarget", "tests/s2d_addon/retarget"),
    "exports": ("inference/exports", "tests/inference/exports"),
    "film": ("inference/film", "tests/inference/film"),
    "motions": ("inference/motions", "tests/inference/motions"),
}
"""By name: the folder of the code, and that of its unit tests."""

WANTED = 0.9
_PATIENCE = 4.0  # times the undisturbed run
_COMPARISONS = {
    ast.Lt: ("<", ">="), ast.LtE: ("<=", ">"), ast.Gt: (">", "<="), ast.GtE: (">=", "<"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
}  # fmt: skip
_OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A change of one line: of ``path`` (from the root), at ``line``, counted from 1."""

    path: str
    line: int
    before: str
    after: str


def faults_of(path: Path) -> list[Fault]:
    """Return all faults that can be planted in a file."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    name = path.relative_to(ROOT).as_posix()
    found = []
    for start, stop, text in _changes(ast.parse(source), source):
        row, column = start
        end_row, end_column = stop
        if row != end_row:
            continue
        line = lines[row - 1]
        data = line.encode()
        after = (data[:column] + text.encode() + data[end_column:]).decode()
        if after != line:
            found.append(Fault(name, row, line.strip(), after))
    return found


Place = tuple[int, int]


def _changes(tree: ast.Module, source: str) -> Iterator[tuple[Place, Place, str]]:
    """Yield where a change begins and ends, and what stands there instead."""
    ignored = _ignored(tree)
    for node in ast.walk(tree):
        if node in ignored:
            continue
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
            yield from _between(source, node.left, node.comparators[0], *_COMPARISONS[type(node.ops[0])])
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            yield from _between(source, node.left, node.right, *_OPERATORS[type(node.op)])
        elif isinstance(node, ast.BoolOp):
            words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            yield from _between(source, node.values[0], node.values[1], *words)
        elif isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, ast.Compare):
            yield _start(node.test), _stop(node.test), f"(not ({ast.unparse(node.test)}))"
        elif isinstance(node, (ast.Raise, ast.AugAssign, ast.Delete)) or _is_call(node):
            yield _start(node), _stop(node), "pass"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield _start(node), _stop(node), str(not node.value)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            more = node.value * 2 if isinstance(node.value, float) else node.value + 1
            yield _start(node), _stop(node), repr(more)


def _ignored(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes that no run depends on: annotations, and what words are made of."""
    ignored: set[ast.AST] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [*node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            parts = [node.returns, *(given.annotation for given in arguments if given)]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.JoinedStr):
            parts = [node]
        for part in filter(None, parts):
            ignored.update(ast.walk(part))
    return ignored


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _between(
    source: str, left: ast.expr, right: ast.expr, sign: str, other: str
) -> Iterator[tuple[Place, Place, str]]:
    """Yield the change of the operator that stands between two expressions on one line."""
    row, start = _stop(left)
    if row != right.lineno:
        return
    line = source.splitlines()[row - 1].encode()
    gap = line[start : right.col_offset].decode()
    at = re.search(rf"(?<![\w<>=!*/]){re.escape(sign)}(?![\w<>=*/])", gap)
    if at:
        yield (
            (row, start + len(gap[: at.start()].encode())),
            (row, start + len(gap[: at.end()].encode())),
            other,
        )


def _start(node: ast.AST) -> Place:
    return node.lineno, node.col_offset  # type: ignore[attr-defined]


def _stop(node: ast.AST) -> Place:
    return node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]


class Copy:
    """A copy of the tree in which faults are planted, and its tests are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "sparse2dense"
        listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
        for name in names:
            if (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name)

    def test(self, tests: str, seconds: float | None = None) -> str:
        """Run the fast tests of a folder; returns the first that failed, "" where none did."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not blender"]
        command += ["-p", "no:cacheprovider", tests]
        environment = os.environ | {"PYTHONPATH": str(self.folder.parent), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return "(it took too long)"
        if process.returncode == 0:
            return ""
        failed = re.findall(r"(?m)^(?:FAILED|ERROR) \S*/(\S+)", said)
        return failed[0] if failed else f"(ended with {process.returncode})"

    def test_with(self, fault: Fault, tests: str, seconds: float) -> str:
        """Plant a fault, run the tests, and take it out again."""
        path = self.folder / fault.path
        whole = path.read_text(encoding="utf-8")
        lines = whole.splitlines(keepends=True)
        lines[fault.line - 1] = fault.after + "\n"
        path.write_text("".join(lines), encoding="utf-8")
        try:
            return self.test(tests, seconds)
        finally:
            path.write_text(whole, encoding="utf-8")


def plant(room: str, count: int, seed: int, copies: list[Copy]) -> list[tuple[Fault, str]]:
    """Plant ``count`` faults in a room, several at a time; returns them with what noticed each."""
    code, tests = ROOMS[room]
    possible = [fault for path in sorted((ROOT / code).glob("*.py")) for fault in faults_of(path)]
    chosen = random.Random(seed).sample(possible, min(count, len(possible)))
    started = time.monotonic()
    if failed := copies[0].test(tests):
        raise SystemExit(f"{tests} fails without any fault: {failed}")
    patience = 30 + _PATIENCE * len(copies) * (time.monotonic() - started)
    free: SimpleQueue[Copy] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def try_one(fault: Fault) -> tuple[Fault, str]:
        copy = free.get()
        try:
            return fault, copy.test_with(fault, tests, patience)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        return list(pool.map(try_one, chosen))


def main() -> int:
    """Plant the faults that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"{', '.join(ROOMS)} (the first four)")
    parser.add_argument("--faults", type=int, default=20, help="in each room (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (all cores)")
    options = parser.parse_args()
    noticed = total = 0
    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(options.jobs)]
        for room in options.rooms or list(ROOMS)[:4]:
            outcomes = plant(room, options.faults, options.seed, copies)
            seen = sum(bool(by) for _, by in outcomes)
            noticed, total = noticed + seen, total + len(outcomes)
            print(f"\n{room}: {seen} of {len(outcomes)} noticed", flush=True)
            for fault, by in outcomes:
                print(f"  {'seen  ' if by else 'MISSED'} {Path(fault.path).name}:{fault.line}: {by}")
                print(f"         - {fault.before}\n         + {fault.after.strip()}", flush=True)
    print(f"\n{noticed} of {total} noticed")
    return 0 if noticed >= WANTED * total else 1


if __name__ == "__main__":
    sys.exit(main())
