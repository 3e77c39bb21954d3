"""The demo: a seeded retailer, served and driven live."""
