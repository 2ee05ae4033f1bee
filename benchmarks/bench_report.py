# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts all that was measured on one page: ``s2d bench report``.

Reads what the other benches left in a folder and writes ``report.html`` there, with all pictures inside, and
a Markdown page with a few small pictures beside it. There it keeps the figures too, so that a bench that was
not run again keeps its part of the page, and whoever doubts a number finds what it was made from. What was
never measured is said to be missing. Every figure comes from those files; this module only words them.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from ..models.outputs import HTML, Kind, beginning
from ..models.shipped import weights_sha256
from ..models.whole_files import write_whole
from .results import OUT, machine, read_results, versions

PAGE = "report.html"
_TITLE = "# Results"
_PICTURES = Path(__file__).resolve().parents[1] / "models" / "weights" / "pictures.json"
_WIDEST = 1000  # pixels of a picture in the Markdown page
_JPEG_QUALITY = 80
_FIRST_PICTURES = 2  # of the rate bench, in the Markdown page: the first clip's curves and frames


@dataclass(frozen=True)
class Section:
    """A bench's part of the page; ``about`` says what its module's tables do not."""

    name: str
    title: str
    about: str


SECTIONS = (
    Section("capture", "The captured motion", ""),
    Section(
        "rate",
        "Rate and distortion",
        "Whole `.s2d` files, every byte counted, beside block codecs at their slowest sensible settings, on "
        "the same frames at the same size. BD-rate is over the qualities that both curves reach, on so many "
        "clips as the number in brackets says; *better* or *worse* means that they reach no common quality. "
        "The last number of a cell is the rate in kbit/s from which the block codec is the better one: "
        "**above it, use the block codec**. VGGcos (HED) is a cosine distance of features of HED's VGG-16; "
        "it is neither LPIPS nor DISTS.",
    ),
    Section(
        "pictures",
        "Networks against simpler pictures",
        "What the networks add to pictures that need none, from the same decoded reference, plate and mesh.",
    ),
    Section(
        "textures",
        "Textured people",
        "The texture that decoding paints of a clip's pictures, and the one that `s2d encode --texture` "
        "gathers of its film and sends, on the mesh, seen from all sides.",
    ),
    Section("vertices", "Vertices", ""),
    Section("keypoints", "Keypoint coding", ""),
    Section("speed", "Speed and memory", ""),
    Section("blender", "In Blender", ""),
)

_LIMITS = (
    "The truth of the vertices is captured motion on bodies of the same model that the network predicts, and "
    "its noise is drawn independently: a filmed person is neither. Optimisation and inverse kinematics "
    "profit from that too.",
    "The network and the coder's tables were trained on the same archive as they are measured on (CMU), "
    "though on other subjects.",
    "Filmed clips are few, and of one person each.",
    "Times are of one machine, which may have been shared: its load stands beside them.",
    "A general compressor or a block codec works on any content; this one knows one person only.",
)

_STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
th, td { border: 1px solid #ccc; padding: 2px 8px; text-align: left } th { background: #f3f3f3 }
img { max-width: 100% } code { background: #f3f3f3; padding: 0 3px }"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``s2d bench report``."""
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the results are")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page as Markdown too")


def outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    """Return the files that :func:`run` writes, each with its kind."""
    markdown = {args.markdown: beginning("page of results", _TITLE.encode())} if args.markdown else {}
    return {args.out / PAGE: HTML} | markdown


def run(args: argparse.Namespace) -> None:
    """Write the page as HTML and, if asked, as Markdown; print where they are."""
    kept = args.markdown.with_name("results") if args.markdown else None
    folders = [args.out, *([kept] if kept else [])]
    found = {section.name: _results(section.name, folders) for section in SECTIONS}
    lines = page(found, folders, pictures_of_rate=None)
    write_whole(args.out / PAGE, as_html("\n".join(lines), folders))
    print(args.out / PAGE)
    if kept:
        lines = page(found, folders, pictures_of_rate=_FIRST_PICTURES)
        write_whole(args.markdown, take_pictures("\n".join(lines), folders, kept) + "\n")
        for section in SECTIONS:
            results = read_results(section.name, args.out)
            if results is not None:
                results["command"] = _without_folders(results["command"])
                write_whole(
                    kept / f"{section.name}.json", json.dumps(_brief(results), ensure_ascii=False) + "\n"
                )
        print(args.markdown)


def _results(name: str, folders: list[Path]) -> dict[str, Any] | None:
    if name == "pictures" and _PICTURES.is_file():
        return json.loads(_PICTURES.read_text(encoding="utf-8"))
    return next((found for folder in folders if (found := read_results(name, folder)) is not None), None)


def _brief(value: Any) -> Any:
    """Round all numbers to as many digits as a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _brief(each) for name, each in value.items()}
    return [_brief(each) for each in value] if isinstance(value, list) else value


def _picture(path: str, folders: list[Path]) -> Path | None:
    """Return where a picture of the results lies: as measured, or small, as an earlier page kept it."""
    places = [folder / name for folder in folders for name in (path, f"{Path(path).stem}.jpg")]
    return next((place for place in places if place.is_file()), None)


def page(
    found: dict[str, dict[str, Any] | None], folders: list[Path], pictures_of_rate: int | None
) -> list[str]:
    """Return the page's lines of Markdown; paths of pictures are as the results have them, below a folder."""
    told = [results for results in found.values() if results and "machine" in results]
    latest = max(told, key=lambda results: results["date"], default={})
    here = latest.get("machine") or machine()
    software = latest.get("versions") or versions()
    lines = [
        _TITLE,
        "",
        "What was measured, on what, and where others are better. This page is written by `s2d bench report` "
        "from the files that the benches leave; no figure in it was typed by hand, but for those that are "
        "marked as published by others.",
        "",
        f"Machine: {here['processor']}, {here['cores']} cores, {here['memory_gib']} GiB, {here['system']}.",
        "",
        f"Software: {', '.join(f'{name} {version}' for name, version in software.items())}.",
        "",
        "## In short",
        "",
    ]
    for section in SECTIONS:
        lines += [f"- {line}" for line in _summary(section, found[section.name])]
    lines += ["", "## Limits", "", *(f"- {limit}" for limit in _LIMITS), ""]
    for section in SECTIONS:
        lines += [
            f"## {section.title}",
            "",
            *_body(section, found[section.name], folders, pictures_of_rate),
            "",
        ]
    return lines


def _summary(section: Section, results: dict[str, Any] | None) -> list[str]:
    if results is None:
        return []
    if section.name == "rate":
        return list(_rate_summary(results))
    return getattr(_module(section), "summary", lambda _: [])(results)


def _rate_summary(results: dict[str, Any]) -> Iterator[str]:
    """Say, for the smallest size, how every codec fares in the first metric on person and whole picture."""
    for size, kinds in list(results["summary"].items())[:1]:
        for codec, regions in kinds["all"].items():
            cells = []
            for region in ("person", "whole"):
                metric, values = next(iter(regions[region].items()))
                saved = (
                    "no common quality"
                    if values["bd_rate"] is None
                    else f"BD-rate {values['bd_rate']:+.0f} %"
                )
                cells.append(f"{region} {saved}, ahead below {values['crossing']:.1f} kbit/s")
            titles = results["settings"]["metrics"]
            lost, partly = [], []
            for name, values in regions["person"].items():
                beyond = values["worse"] - values["better"]  # clips without a common quality, not in BD-rate
                if (values["bd_rate"] or 0) > 0 or beyond > values["overlapping"]:
                    lost.append(titles[name])
                elif beyond > 0:
                    partly.append(titles[name])
            loses = f". On the person it loses in {', '.join(lost)}" if lost else ""
            loses += f". On some clips the person is never better in {', '.join(partly)}" if partly else ""
            where = f"at {size}x{size} against {_codec(results, codec)}, clips {values['clips']}"
            yield f"Rate {where}, {titles[metric]}: {'; '.join(cells)}{loses}."


def _codec(results: dict[str, Any], name: str) -> str:
    """Return what people call an anchor of the rate bench."""
    anchors = [entry["anchors"][name] for entry in results["clips"].values() if name in entry["anchors"]]
    return anchors[0]["title"]


def _body(
    section: Section, results: dict[str, Any] | None, folders: list[Path], pictures_of_rate: int | None
) -> list[str]:
    command = f"`s2d bench {section.name}`"
    if results is None:
        return [f"Not run. Measure it with {command}."]
    lines = [section.about, ""] if section.about else []
    if section.name == "rate":
        clips = [
            f"{entry['title']} at {entry['size']}x{entry['size']} ({entry['frames'] / entry['fps']:.1f} s)"
            for entry in results["clips"].values()
        ]
        lines += [f"Measured so far: {'; '.join(clips)}.", ""]
    if section.name == "pictures":
        shipped = weights_sha256("generator.onnx")
        if results["generator_sha256"] != shipped:
            lines += [f"Measured before the generator that is shipped now ({shipped[:12]}) was exported.", ""]
    lines += _module(section).tables(results)
    for path, caption in _pictures(section, results, pictures_of_rate):
        if _picture(path, folders):
            lines += ["", f"![{caption}]({path})", "", f"*{caption}*"]
    if "command" in results:
        load = results["machine"].get("load")
        busy = f", load average {load[0]}" if load else ""
        quick = " **A quick trial, not a measurement.**" if results.get("quick") else ""
        lines += [
            "",
            f"`{_without_folders(results['command'])}` at commit {results['commit']}, {results['date']}"
            f"{busy}.{quick}",
        ]
    return lines


def _without_folders(command: str) -> str:
    """Return a command line with absolute paths cut to their last name: where it ran is nobody's concern."""
    return re.sub(r"(?<=\s)/\S*/", "", command)


def _pictures(section: Section, results: dict[str, Any], of_rate: int | None) -> Iterator[tuple[str, str]]:
    if section.name != "rate":
        yield from results.get("pictures", {}).items()
        return
    drawn = [
        (path, f"{entry['title']}, {entry['size']}x{entry['size']}: {kind}")
        for entry in results["clips"].values()
        for kind, path in entry.get("pictures", {}).items()
    ]
    yield from drawn[:of_rate]


def _module(section: Section) -> Any:
    return importlib.import_module(f".bench_{section.name}", __package__)


def as_html(markdown_text: str, folders: list[Path]) -> str:
    """Return the page as one HTML file, its pictures (below one of the ``folders``) inside."""
    import markdown

    body = markdown.markdown(markdown_text, extensions=["tables"])

    def embed(match: re.Match[str]) -> str:
        path = _picture(match.group(1), folders)
        kind = "jpeg" if path.suffix == ".jpg" else path.suffix[1:]
        return f'src="data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"'

    body = re.sub(r'src="([^"]+)"', embed, body)
    head = f'<meta charset="utf-8"><title>Sparse2Dense: results</title><style>{_STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>\n"


def take_pictures(markdown_text: str, folders: list[Path], folder: Path) -> str:
    """Copy the pictures that the page shows into ``folder``, small; return the page with their new paths."""

    def take(match: re.Match[str]) -> str:
        source = _picture(match.group(2), folders)
        target = folder / f"{source.stem}.jpg"
        if source == target:
            return f"![{match.group(1)}]({folder.name}/{target.name})"
        picture = cv2.imread(str(source))
        shrink = min(1.0, _WIDEST / picture.shape[1])
        picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        write_whole(target, coded.tobytes())
        return f"![{match.group(1)}]({folder.name}/{target.name})"

    return re.sub(r"!\[([^\]]*)\]\(([^)]+)\)", take, markdown_text)
