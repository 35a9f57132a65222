"""What a variant asks of the build, and how the real backend is told."""
