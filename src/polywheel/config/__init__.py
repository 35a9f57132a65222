"""What the user wrote, read into typed values: pyproject.toml and config settings."""
