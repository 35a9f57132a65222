"""Indexes of wheels: write one, and choose a wheel from one."""
