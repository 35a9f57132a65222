"""The worker process that runs the steps of a build."""
