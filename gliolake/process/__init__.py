"""Process-wide settings: isolation from the current folder, signals, threads, private folders, compiled loops.

Public: ``isolation``, ``signals``, ``threads``, ``private_folders``, ``compiled.njit``. May import the modules of the
lowest layer only. It contains no code about lakes or scans.
"""
