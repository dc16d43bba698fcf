"""`gliolake report`: one study on one self-contained HTML page.

Public: ``report.report``. May import figures and ``gliolake.analysis.study``. Reads one snapshot of a lake and writes
one file, no rows.
"""
