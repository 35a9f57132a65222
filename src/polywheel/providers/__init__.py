"""Variant providers: which plugin answers for a namespace, and asking it."""
