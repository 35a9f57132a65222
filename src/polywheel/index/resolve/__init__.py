"""Which wheel an installer chooses for a machine."""
