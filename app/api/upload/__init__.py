"""Reads the pictures and options from a request's body."""
