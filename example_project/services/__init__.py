"""FastAPI services of the same shop."""
