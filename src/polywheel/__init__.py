"""polywheel: a meta build backend and build-matrix orchestrator for Python wheel variants."""

__version__ = "0.1.0"
