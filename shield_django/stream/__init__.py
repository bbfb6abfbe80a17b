"""The event stream: who listens to an engine's changes over HTTP, and how they are told."""

#: Where it is, below the place of the control plane.
PATH = "/api/sdk/events"
