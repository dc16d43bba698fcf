"""Ensembles: the fitted networks of an experiment as a folder, and what they say of new vectors."""
