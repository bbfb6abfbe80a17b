"""A store without I/O: commands are planned and applied one after another, at a chosen time."""

from dataclasses import replace
from itertools import count

from shield_core.backends.base import check_expectations, stamped
from shield_core.keys import Scope
from shield_core.plan import Register
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Cursor, Snapshot

from .rules import NOW, declare


class Store:
    """``declared`` maps keys to the decorators of this process's views."""

    def __init__(self, declared=None, *, now=NOW, service=None, snapshot=None):
        self.now = now
        self.service = service
        self.snapshot = snapshot or Snapshot("epoch")
        self.audit = []
        self.declarations = {}
        self._revisions = count(self.snapshot.revision + 1)
        self.deploy(declared or {})

    def deploy(self, declared, release=""):
        """Start a release: its code decides from now on, and is registered."""
        declarations = [declare(key, *stamps) for key, stamps in declared.items()]
        self.declarations = {one.key: one for one in declarations}
        return self.run(Register, states=[one.state(self.service, release) for one in declarations])

    def plan(self, command, *args, **fields):
        if args:
            fields |= {"target": args[0], "service": self.service}
        return replace(command(**fields), now=self.now).plan(self.snapshot)

    def run(self, command, *args, **fields):
        """Plan and commit; return the commit."""
        commit = self.plan(command, *args, **fields)
        if commit:
            check_expectations(commit, self.snapshot.revision_of)
            changes = stamped(commit, Cursor("epoch", next(self._revisions)), "")
            self.snapshot = self.snapshot.apply(changes, advance=True)
            self.audit.extend(changes.audit)
        return commit

    def state(self, key):
        return self.snapshot.route(key)

    def maintenance(self, scope):
        return self.snapshot.maintenance(Scope.of(scope) if isinstance(scope, str) else scope)

    def rules(self, env="dev"):
        return Ruleset.compile(
            self.snapshot,
            self.declarations,
            service=self.service,
            env=env,
            clock=lambda: self.now.timestamp(),
        )

    def answer(self, method, path, env="dev"):
        decision = self.rules(env).decide(method, path)
        return decision.cause.value if decision.cause else "open"
