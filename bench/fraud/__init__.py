"""The benchmark of the check at the till: how fast, how exact, how good."""
