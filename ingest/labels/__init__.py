"""Labels: label files, the sources that they come from, and links between scans of one patient."""
