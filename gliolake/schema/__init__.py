"""Every table of a lake, and the fixed lists that its columns draw on."""
