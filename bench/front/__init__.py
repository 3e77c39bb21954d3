"""What a call costs on the fast front, alone and with a decision in it."""
