"""Values without I/O: variants, build setup, matrices, plans."""
