"""The network, its data and its weights. Knows nothing of HTTP."""
