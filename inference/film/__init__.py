# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and writing films, streamed both ways."""

import os

import cv2

# Broken files are reported by our own errors, in one line; FFmpeg and OpenCV would add theirs on stderr.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
