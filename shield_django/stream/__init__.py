"""The event stream: who listens to an engine's changes over HTTP, and how they are told."""
