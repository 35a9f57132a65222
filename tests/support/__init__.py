"""Shared by tests: builders of projects, wheels, and plans; runs of commands; the fake backend."""
