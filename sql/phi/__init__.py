"""What in a text may identify a patient: dates, names, numbers, addresses."""
