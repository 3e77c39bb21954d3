"""Stock: alerts from movement to subscriber, movements a second, what they cost decisions."""
