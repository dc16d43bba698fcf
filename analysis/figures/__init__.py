"""Figures of a study, each drawn from the rows of one SQL view.

Public: ``command``, ``registry``, ``style``. May import sql and ``gliolake.analysis.study``. matplotlib stays in here
and in ``gliolake.analysis.case``.
"""

from importlib import import_module

from gliolake.process.isolation import away_from_current_folder

with away_from_current_folder():  # matplotlib takes settings from a file in the current folder
    import_module("matplotlib")
