"""Zip archives without inflating them."""
