"""Route lifecycle and traffic control, free of any web framework."""
