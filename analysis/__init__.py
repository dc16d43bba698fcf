"""Last room: what is said about features and predictions, and the demo of all steps on synthetic scans."""
