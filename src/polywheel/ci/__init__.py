"""Workflows for CI systems, and the collection of their results."""
