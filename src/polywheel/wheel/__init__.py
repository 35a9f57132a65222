"""Wheels as archives: raw reading and writing, RECORD, stamping."""
