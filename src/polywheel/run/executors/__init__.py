"""How builds are executed: in local environments, or by cibuildwheel."""
