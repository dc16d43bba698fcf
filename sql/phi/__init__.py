"""Patterns of text that may identify a patient: dates, names, numbers, addresses.

Public: ``patterns.kinds_in``, ``patterns.shape_in``, ``patterns.KINDS``. Works on single texts and knows no tables. It
returns kinds and shapes, never the text.
"""
