"""Export: the fits of an experiment as a folder, and predictions of an exported model.

Public: ``command.export_model``, ``model.load_model``, ``model.Model``. May import the packages of modeling. File
formats of the folder stay in here. A loaded model needs no lake.
"""
