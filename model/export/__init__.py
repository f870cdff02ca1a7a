"""Export: converts a checkpoint into the graphs that OpenVINO loads (python -m model.export)."""
