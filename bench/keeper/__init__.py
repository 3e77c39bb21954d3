"""What durable writes cost, what they do to decisions, and how fast the server is back."""
