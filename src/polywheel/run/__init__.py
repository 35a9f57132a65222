"""Running a plan: sources, environments, jobs, and what becomes of them."""
