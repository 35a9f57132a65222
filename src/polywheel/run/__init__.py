"""Run the builds of a plan in parallel."""
