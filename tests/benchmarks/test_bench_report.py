# SPDX-License-Identifier: GPL-3.0-or-later
"""The page shows what was measured, says what was not, and its HTML stands alone."""

import argparse
import json
import re

import numpy as np
import pytest

pytest.importorskip("markdown")

import cv2
from sparse2dense.benchmarks import bench_report
from sparse2dense.benchmarks.results import write_results

BLENDER = {
    "blenders": {
        "5.0.1": {
            "300": {"ways": {"Armature": {"make_s": 1.5, "play_ms": 12.3, "bytes": 2e6}}, "error": None},
            "3000": {"ways": {}, "error": "stopped after 8 minutes"},
        }
    },
    "pictures": {"plot.png": "A plot"},
}


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["s2d", "bench", "blender", "--out", str(tmp_path)])
    write_results("blender", BLENDER, tmp_path)
    cv2.imwrite(str(tmp_path / "plot.png"), np.random.default_rng(0).integers(0, 255, (60, 2000, 3)))
    return tmp_path


def test_the_page_has_every_section_and_says_what_was_not_run(out):
    page = out / "docs" / "RESULTS.md"
    bench_report.run(argparse.Namespace(out=out, markdown=page))
    text = page.read_text(encoding="utf-8")
    for section in bench_report.SECTIONS:
        assert f"\n## {section.title}\n" in text
    assert "Not run. Measure it with `s2d bench speed`" in text
    assert "| bpy 5.0.1 | 300 | Armature | 1.5 |  | 12.30 |  | 2.0 |" in text
    assert "stopped after 8 minutes" in text
    origin = json.loads((out / "blender.json").read_text())
    assert f"at commit {origin['commit']}, {origin['date']}" in text
    assert f"`s2d bench blender --out {out.name}`" in text
    picture = cv2.imread(str(out / "docs" / re.search(r"!\[A plot\]\((.+?)\)", text).group(1)))
    assert picture.shape[1] == 1000


def test_a_bench_that_was_not_run_again_keeps_its_part_of_the_page(out, tmp_path):
    page = out / "docs" / "RESULTS.md"
    bench_report.run(argparse.Namespace(out=out, markdown=page))
    before = page.read_text(encoding="utf-8")
    bench_report.run(argparse.Namespace(out=tmp_path / "another", markdown=page))
    assert page.read_text(encoding="utf-8") == before
    assert "base64," in (tmp_path / "another" / bench_report.PAGE).read_text(encoding="utf-8")
    assert str(tmp_path) not in (out / "docs" / "results" / "blender.json").read_text(encoding="utf-8")


def test_the_html_page_needs_no_other_file(out):
    bench_report.run(argparse.Namespace(out=out, markdown=None))
    text = (out / bench_report.PAGE).read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="([^"]{1,22})', text) == ["data:image/png;base64,"]
    assert text.count("<table>") >= 1


def test_nothing_measured_makes_a_page_too(tmp_path):
    bench_report.run(argparse.Namespace(out=tmp_path, markdown=None))
    assert (tmp_path / bench_report.PAGE).read_text(encoding="utf-8").count("Not run.") >= 4
