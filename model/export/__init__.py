"""From a checkpoint to what the engines load: python -m model.export."""
