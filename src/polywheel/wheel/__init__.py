"""Wheels: inspect, stamp, restore, label, repair."""
