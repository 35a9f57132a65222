"""The declarative matrix: expansion, selection, plan."""
