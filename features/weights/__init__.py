"""Pretrained weights: sources, download, checks, and readers of weight files.

Public: ``selection.choose_weights``, ``files.read_weights``, ``folder``, ``sources.SOURCES``. May import networks. File
formats stay in here: callers get tensors by name. No reader executes code from a file.
"""
