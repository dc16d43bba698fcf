"""`gliolake study run`: the experiments of a TOML file, by default those of the published study.

Public: ``command.run_study``, ``report.StudyReport``. May import models, evaluation, data and the cluster. Workers read
rows from the lake; the client commits results.
"""
