"""Virtual environments: interpreters, installers, and the environments in the cache."""
