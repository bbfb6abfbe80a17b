"""Where state and the audit log are stored."""
