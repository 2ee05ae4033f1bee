# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine that the preferences ask for, with a stand-in for what Blender has of them."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import pytest
from sparse2dense.s2d_addon.engine.job import Engine

MODULE = "sparse2dense.s2d_addon.engine.settings"
CHOSEN = {"device": "CPU", "python": "//python", "torch_device": "cuda", "body_folder": ""}


@pytest.fixture
def settings(monkeypatch):
    """The module, where nothing but ``addons`` is known of Blender."""
    bpy = ModuleType("bpy")
    bpy.context = SimpleNamespace(preferences=SimpleNamespace(addons={}))
    bpy.path = SimpleNamespace(abspath=lambda path: path.replace("//", "/home/"))
    monkeypatch.setitem(sys.modules, "bpy", bpy)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE)
    del sys.modules[MODULE]


def choose(settings, **chosen):
    preferences = SimpleNamespace(**(CHOSEN | chosen))
    addons = settings.bpy.context.preferences.addons
    addons["sparse2dense"] = SimpleNamespace(preferences=preferences)
    return preferences


def test_preferences_are_found_under_the_extensions_name(settings):
    assert settings.PACKAGE == "sparse2dense"
    assert settings.settings() is None
    assert settings.settings() is None
    preferences = choose(settings)
    assert settings.settings() is preferences
    settings.bpy.context.preferences = None  # as while Blender ends
    assert settings.settings() is None


def test_without_preferences_the_engine_is_blenders_own(settings):
    assert settings.chosen_engine() == Engine()


def test_the_processor_needs_no_other_python(settings):
    choose(settings, body_folder="//bodies")
    assert settings.chosen_engine() == Engine("", "cpu", "/home/bodies")


def test_a_graphics_card_needs_the_users_python(settings):
    choose(settings, device="TORCH", body_folder="//bodies")
    assert settings.chosen_engine() == Engine("/home/python", "cuda", "/home/bodies")


def test_a_graphics_card_without_a_python_is_the_processor(settings):
    choose(settings, device="TORCH", python="")
    assert settings.chosen_engine() == Engine()
