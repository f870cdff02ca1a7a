"""Structural checks, one module for each file format: they count a file's parts before Pillow reads it."""
