"""The engines, one file each; app.engine says what they have in common."""
