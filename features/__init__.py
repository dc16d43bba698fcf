"""Features: scans become clips, and clips become vectors of 400 numbers per backbone and branch.

Public: ``extraction``, ``preprocessing``, ``preview``, ``weights``, ``clips.ClipSettings``, ``scans.scans_of``. May
import ingest and the layers below it. The video networks, OpenVINO and MXNet stay in here: later packages read vectors
from table ``features``.
"""
