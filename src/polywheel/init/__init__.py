"""``polywheel init``: a first set of tables for a project."""
