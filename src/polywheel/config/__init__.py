"""Read pyproject.toml and config settings into values."""
