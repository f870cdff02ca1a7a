"""The service: pictures in over HTTP, class probabilities out."""
