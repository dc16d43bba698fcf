"""What belongs to a whole process: isolation from the current folder, signals, threads, private folders, compiled
code."""
