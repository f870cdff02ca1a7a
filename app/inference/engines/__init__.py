"""The engines, one file each; base says what they have in common."""
