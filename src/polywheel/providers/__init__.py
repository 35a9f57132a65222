"""Provider plugins: which one answers for a namespace, and how it is asked in a child process."""
