"""The source of a run: snapshots, checkouts, sdists."""
