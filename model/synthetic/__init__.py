"""Synthetic pictures: uploads made from data-set pictures, drawn garments, and outliers."""
