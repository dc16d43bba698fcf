"""The figures of a study, each drawn from the rows of one SQL view."""
