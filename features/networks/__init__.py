"""The video networks as torch modules, and their input formats.

Public: ``registry.NETWORKS``, ``registry.network_of``, ``frames.prepare``. Contains no code about scans or about other
engines than torch.
"""
