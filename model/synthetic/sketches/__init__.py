"""Garments drawn from random shapes, as icons and clip art show them."""
