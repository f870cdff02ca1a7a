"""What the world sees, one file a surface."""
