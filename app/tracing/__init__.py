"""OpenTelemetry traces. Imported only if OpenTelemetry's environment variables ask for them."""
