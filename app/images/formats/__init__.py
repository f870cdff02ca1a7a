"""The structure of each file format, checked before Pillow reads the file."""
