"""From a picture's file to class probabilities: admission, batching, engines, their health and replacement."""
