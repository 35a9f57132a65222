"""The index of a folder of wheels: index-level variant metadata, and the simple API as files."""

from polywheel.index.writing import Indexed, write_index

__all__ = ["Indexed", "write_index"]
