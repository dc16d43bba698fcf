"""The Siamese network and the MLP: all fits of a cross-validation trained together, in compiled loops.

Public: ``networks.NETWORKS``, ``training.fit_networks``, ``layers.BatchedModel``. torch modules and compiled loops stay
in here.
"""
