"""The v1 prediction protocol of TensorFlow Serving and KServe: /v1/…."""
