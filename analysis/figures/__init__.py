"""Figures: each drawn from a view, so that its numbers can be queried, in one style."""
