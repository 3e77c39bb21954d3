"""What `instanter bench` does: generators in processes of their own, figures, pictures."""
