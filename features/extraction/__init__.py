"""`gliolake extract`: workers compute the vectors of scans; the client commits them.

Public: ``command.extract``, ``precision.check_precision``, ``recipe.make_recipe``, ``scan_task.compute``. May import
backbones, preprocessing and weights, and the cluster.
"""
