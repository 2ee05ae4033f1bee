# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing clips: the operators between Blender's window, the job that decodes, and the scene."""

from pathlib import Path

import bpy
from bpy.app.handlers import persistent
from bpy_extras.io_utils import ImportHelper

from . import cache, scene
from .job import DecodeJob

_TICK_SECONDS = 0.1


class Jobs:
    """The import at work, or the last one: kept for the panel to show."""

    current: DecodeJob | None = None

    @classmethod
    def running(cls) -> bool:
        """Whether an import is at work."""
        return cls.current is not None and cls.current.running

    @classmethod
    def end(cls) -> None:
        """Kill an import at work, and forget it."""
        if cls.current:
            cls.current.cancel()
        cls.current = None


class S2D_OT_import_clip(bpy.types.Operator, ImportHelper):
    """Import .s2d clips as animated meshes with their videos and cameras"""

    bl_idname = "s2d.import_clip"
    bl_label = "Import Sparse2Dense Clip"
    bl_options = {"UNDO", "PRESET"}

    filename_ext = ".s2d"
    filter_glob: bpy.props.StringProperty(default="*.s2d", options={"HIDDEN"})
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: bpy.props.CollectionProperty(
        type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"}
    )
    start_frame: bpy.props.IntProperty(
        name="Start Frame", description="Scene frame at which the clip starts", default=1
    )
    set_frame_rate: bpy.props.BoolProperty(
        name="Set Frame Rate",
        description="Give the scene the clip's frame rate. The clip plays at its right speed either way",
    )
    set_frame_range: bpy.props.BoolProperty(
        name="Set Frame Range", description="Let the scene start and end with the clip"
    )
    set_resolution: bpy.props.BoolProperty(
        name="Set Resolution", description="Give the scene the clip's resolution and look through its camera"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Allow one import at a time, in object mode."""
        if Jobs.running():
            cls.poll_message_set("An import is at work")
            return False
        return context.mode == "OBJECT"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for files, or, where some were dropped onto the window, for options."""
        if self.directory:
            return self.invoke_popup(context)
        return super().invoke(context, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start decoding; without a window, wait for it and build the scene."""
        folder = Path(bpy.path.abspath(self.directory))
        paths = [folder / item.name for item in self.files if item.name]
        if not paths and self.filepath:
            paths = [Path(bpy.path.abspath(self.filepath))]
        if not paths:
            self.report({"ERROR"}, "No file was chosen: choose one or more .s2d files.")
            return {"CANCELLED"}
        Jobs.current = DecodeJob(paths, cache.cache_root())
        if bpy.app.background or not context.window:
            Jobs.current.wait()
            return self._finish(context)
        self._job = Jobs.current
        self._timer = context.window_manager.event_timer_add(_TICK_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Show the progress; build the scene when everything is decoded."""
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        redraw(context)
        if self._job.running:
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self._finish(context)

    def _finish(self, context: bpy.types.Context) -> set[str]:
        job = Jobs.current
        if job is None or job.cancelled:
            self.report({"WARNING"}, "The import was cancelled.")
            return {"CANCELLED"}
        for clip in job.clips:
            root = scene.build_clip(clip, context.scene, self.start_frame)
            if self.set_frame_rate:
                scene.set_frame_rate(context.scene, root)
            if self.set_frame_range:
                scene.set_frame_range(context.scene, root)
            if self.set_resolution:
                scene.set_resolution(context.scene, root)
                context.scene.camera = scene.find_part(root, "camera")
            select_only(context, scene.find_part(root, "mesh"))
            for warning in clip.warnings:
                self.report({"WARNING"}, warning)
        for error in job.errors:
            self.report({"ERROR"}, error)
        return {"FINISHED"} if job.clips else {"CANCELLED"}


class S2D_OT_cancel(bpy.types.Operator):
    """Stop the import and remove what it has written so far"""

    bl_idname = "s2d.cancel"
    bl_label = "Cancel Import"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Allow it while an import is at work."""
        return Jobs.running()

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Kill the worker."""
        Jobs.current.cancel()
        return {"FINISHED"}


class S2D_FH_clip(bpy.types.FileHandler):
    """Drag and drop of .s2d files onto the 3D view."""

    bl_idname = "S2D_FH_clip"
    bl_label = "Sparse2Dense Clip"
    bl_import_operator = S2D_OT_import_clip.bl_idname
    bl_file_extensions = ".s2d"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Accept files over a 3D view or the outliner."""
        return context.area is not None and context.area.type in {"VIEW_3D", "OUTLINER"}


def select_only(context: bpy.types.Context, item: bpy.types.Object) -> None:
    """Make ``item`` the one selected and active object."""
    for other in context.selected_objects:
        other.select_set(False)
    item.select_set(True)
    context.view_layer.objects.active = item


def redraw(context: bpy.types.Context) -> None:
    """Redraw the panels and status bars, which show the import's progress."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
        window.workspace.status_text_set(None)


@persistent
def _end_jobs(*_: object) -> None:
    Jobs.end()


def _draw_import_entry(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.operator(S2D_OT_import_clip.bl_idname, text="Sparse2Dense Clip (.s2d)")


_CLASSES = (S2D_OT_import_clip, S2D_OT_cancel, S2D_FH_clip)


def register() -> None:
    """Register the operators, the File > Import entry, and the end of a job where another file is loaded."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.TOPBAR_MT_file_import.append(_draw_import_entry)
    bpy.app.handlers.load_pre.append(_end_jobs)


def unregister() -> None:
    """End a running import and remove what :func:`register` added."""
    Jobs.end()
    bpy.app.handlers.load_pre.remove(_end_jobs)
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import_entry)
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
