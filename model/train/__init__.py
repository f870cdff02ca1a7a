"""Training: GoogLeNet from a recipe and a data set to a checkpoint (python -m model.train)."""
