"""The engine of events: checks what customers did, and keeps what follows from it."""
