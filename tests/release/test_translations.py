# SPDX-License-Identifier: GPL-3.0-or-later
"""What people read in the add-on is there in all languages, and every value has its place in them."""

import json

import pytest
from sparse2dense.release import translations
from sparse2dense.s2d_addon.translating import broken, label_text, say

MESSAGES = translations.messages()
LANGUAGES = sorted(translations.TRANSLATIONS.glob("*.json"))
SOURCE = '''
class S2D_OT_wave(Operator):
    """Let them wave"""
    bl_label = "Wave"
    size: Annotated[float, FloatProperty(name="Size", description="Of the wave")]
    number: Annotated[int, IntProperty(name="Number", options={"HIDDEN"})]
    kind: Annotated[str, EnumProperty(name="Kind", items=(("BIG", "Big Wave", "With both arms"),))]

    def draw(self, context):
        layout.label(text="Waves" if many else "One Wave", icon="NONE")
        layout.label(text=name, translate=False)
        layout.label(text="a name", translate=False)

    def execute(self, context):
        self.report({"INFO"}, "They have waved.")
        self.report({"INFO"}, say("{count} waves", count=3))
'''


def test_the_languages_are_there():
    assert {path.stem for path in LANGUAGES} >= {"de", "es", "fr", "ja", "pt", "zh_HANS"}


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_every_text_is_translated(path):
    """``python -m sparse2dense.release.translations`` brings what is new into the files."""
    found = translations.read(path)
    assert [text for text in MESSAGES if not found.get(text, "").strip()] == [], "not translated"
    assert [text for text in found if text not in MESSAGES] == [], "said no more"


@pytest.mark.parametrize("path", LANGUAGES, ids=lambda path: path.stem)
def test_translations_take_the_same_values(path):
    for text, translation in translations.read(path).items():
        assert translations.placeholders(translation) == translations.placeholders(text), text


def test_texts_are_found_wherever_people_read_them(tmp_path):
    (tmp_path / "waving.py").write_text(SOURCE)
    assert translations.messages(tmp_path)[:12] == [
        *("Wave", "Let them wave", "Size", "Of the wave", "Kind", "Big Wave", "With both arms"),
        *("Waves", "One Wave", "They have waved.", "{count} waves"),
        "Stature",
    ]


@pytest.mark.parametrize(
    "line",
    [
        'self.report({"ERROR"}, f"{path} is gone.")',
        'self.report({"ERROR"}, "It is " + what)',
        'raise InputError("gone", f"{path} is gone.")',
        'cls.poll_message_set("It is gone")',
        'layout.label(text=f"{count} waves")',
        'say(f"{count} waves")',
    ],
)
def test_what_no_dictionary_can_hold_is_refused(tmp_path, line):
    (tmp_path / "waving.py").write_text(f"\n\n{line}\n")
    with pytest.raises(translations.UnsayableError, match=r"waving\.py:3: "):
        translations.messages(tmp_path)


def test_a_language_is_brought_up_to_date(tmp_path):
    path = tmp_path / "it.json"
    assert translations.update(path) == MESSAGES
    path.write_text(json.dumps({"Bake": "Precalcola", "Broil": "Griglia"}))
    assert translations.update(path) == [text for text in MESSAGES if text != "Bake"]
    found = translations.read(path)
    assert list(found) == MESSAGES
    assert found["Bake"] == "Precalcola"


def test_without_blender_texts_are_english_with_their_values():
    assert say("{size:.1f} MB in {path}", size=2, path="{a}/b") == "2.0 MB in {a}/b"


def test_words_of_a_file_are_no_template():
    assert label_text("{part.__class__}") == "{part.__class__}"


def test_messages_are_broken_into_lines_that_fit_in_every_script():
    english = broken("It is in /a/very/long/folder/name: choose another one, or 2.", 20)
    assert english == ["It is in", "/a/very/long/folder/", "name: choose another", "one, or 2."]
    assert broken("ボーンの向きのずれは平均です。", 16) == ["ボーンの向きのず", "れは平均です。"]
    assert broken("最大 1.62 です。", 14) == ["最大 1.62 で", "す。"]
