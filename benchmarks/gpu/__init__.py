"""The four stages of deploy/gpu_check.py: correctness, speed of the engine, speed of the service, training."""
