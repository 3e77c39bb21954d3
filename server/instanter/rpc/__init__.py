"""The only room that knows gRPC: fronts, services, status table."""
