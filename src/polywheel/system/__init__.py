"""Operating system services: files, child processes, locks, the cache folder, terminal output."""
