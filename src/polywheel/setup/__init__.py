"""From a variant to the environment variables and config settings for the real backend."""
