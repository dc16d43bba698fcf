"""Networks and controls that turn clips into vectors of 400 numbers."""
