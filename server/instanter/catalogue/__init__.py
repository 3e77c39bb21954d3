"""What people write: schema, offers and rules, validated and compiled to arrays."""
