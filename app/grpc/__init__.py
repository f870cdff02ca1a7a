"""The Open Inference Protocol over gRPC, on a port of its own. Imported only if GOOGLENET_GRPC_PORT is set."""
