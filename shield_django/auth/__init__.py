"""Who may log in to the control plane, the tokens they get, and what those reach."""
