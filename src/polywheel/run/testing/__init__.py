"""Tests of finished wheels."""
