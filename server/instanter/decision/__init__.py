"""The decision engine: eligibility, propensity, arbitration."""
