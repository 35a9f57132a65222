"""From a project's matrix to a plan, and selections of a plan."""
