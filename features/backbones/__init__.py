"""Backbones: networks and controls that turn clips into vectors of 400 numbers.

Public: ``registry.BACKBONES``, ``registry.open_backbone``, ``registry.Backbone``. May import networks and weights. A
caller knows a backbone by its name and methods only, not by the library that computes it.
"""
