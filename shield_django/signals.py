"""Signals: the seam for logging, metrics and notifications.

``state_changed(sender, snapshot, changes)``: this process applied changes, its own or others'.
The sender is the engine; ``changes.audit`` is filled for changes made in this process.
It is sent after the commit, in the thread that applied it.

``request_blocked(sender, request, decision)``: a request was not let through. The sender is the
middleware's class.
"""

from django.dispatch import Signal

state_changed = Signal()
request_blocked = Signal()
