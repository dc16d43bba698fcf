"""Logging: the logger and the progress of tasks for people, and the JSON journal for programs.

Public: ``journal.logger``, ``progress.track``, ``plain_text.shown``. May import the modules of the lowest layer only.
The text that it formats contains no control characters and no passwords.
"""
