"""The MXNet engine for I3D and SlowFast, which runs in a separate Python environment.

Public: ``backbone.MxnetBackbone``, ``environment.open_mxnet``. Only this package imports MXNet, and only in workers of
that environment.
"""
