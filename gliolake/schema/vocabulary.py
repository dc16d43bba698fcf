"""Names and numbers of the study that its tables hold: modalities, branches, label rules. It imports nothing."""

from __future__ import annotations

MODALITIES = ("FLAIR", "T1", "T1wCE", "T2")
"""The four image modalities, in the study's names and order."""

LABEL_RULES = {"brats21": 2, "ucsf": 1}
"""Rules by which a tumour is called methylated: how many methylated CpG sites it needs at least."""

BRANCHES = (*MODALITIES, "DeltaT1")
"""The five branches of the Siamese network: the modalities and the derived T1wCE − T1."""

FEATURE_LENGTH = 400
"""Numbers in a feature vector: the Kinetics-400 output layer of the study's networks."""
