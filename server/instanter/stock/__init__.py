"""The stock room: positions, learned demand, falls, alerts. Knows no clock and no store."""
