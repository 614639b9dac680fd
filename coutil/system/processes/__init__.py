"""Other programs: start, communication, end."""
