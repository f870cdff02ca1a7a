"""Garments that code draws, as icons show them."""
