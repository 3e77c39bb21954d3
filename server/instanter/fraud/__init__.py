"""The engine of the check at the till: what a card transaction is answered, and what it teaches."""
