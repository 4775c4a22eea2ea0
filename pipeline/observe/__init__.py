"""What operators see: metrics, health, the dashboard page, logging, tracing."""
