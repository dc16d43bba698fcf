"""Images: which files are which scan's, what has changed since the last ingest, and what each image is."""
