"""The processes of one server and their life: who starts, watches, replaces and ends them."""
