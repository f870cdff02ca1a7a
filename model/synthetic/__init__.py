"""Pictures that code draws: uploads, scenes, drawn garments, outliers."""
