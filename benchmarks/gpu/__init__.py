"""The four stages of deploy/gpu_check.py: right answers, the engine's speed, the service's speed, training."""
