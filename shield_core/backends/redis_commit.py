"""One commit as one Lua script: everything or nothing, and in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shield_core.backends.base import encoded
from shield_core.keys import EVERYTHING
from shield_core.models import RouteState
from shield_core.snapshot import Changes

# KEYS: head, revisions, deleted, stream, audit, watched key, then one key per write.
# ARGV: expected head, new head, revision, event, channel, audit limit, stream length, what the watched
#       key must hold ("" is not looked at), number of writes, then per write: store key ("" is a mere
#       copy), JSON ("" deletes), message ("" is not published); number of audit entries, then their JSON.
_SCRIPT = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[8] ~= '' and redis.call('GET', KEYS[6]) ~= ARGV[8] then return 0 end
-- A store without a head begins anew. What can fail, as an id out of order does, fails before the rest.
if ARGV[1] == '' then redis.call('DEL', KEYS[4]) end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[7], ARGV[3] .. '-1', 'changes', ARGV[4])
local at = 10
for i = 1, tonumber(ARGV[9]) do
  local key, value, message = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if value == '' then redis.call('DEL', KEYS[6 + i]) else redis.call('SET', KEYS[6 + i], value) end
  if key ~= '' then
    local there, gone = KEYS[2], KEYS[3]
    if value == '' then there, gone = gone, there end
    redis.call('HSET', there, key, ARGV[3])
    redis.call('HDEL', gone, key)
  end
  if message ~= '' then redis.call('PUBLISH', ARGV[5], message) end
  at = at + 3
end
for i = 1, tonumber(ARGV[at]) do redis.call('LPUSH', KEYS[5], ARGV[at + i]) end
if ARGV[6] == '0' then redis.call('DEL', KEYS[5])
elseif ARGV[6] ~= '' then redis.call('LTRIM', KEYS[5], 0, ARGV[6] - 1) end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class CommitScript:
    """The script on one client; ``name`` puts the prefix before a name."""

    def __init__(
        self, client: Any, name: Callable[[str], str], *, audit_limit: int | None, stream_length: int
    ) -> None:
        self._script = client.register_script(_SCRIPT)
        self._name = name
        self._audit_limit = "" if audit_limit is None else str(audit_limit)
        self._stream_length = stream_length

    def run(self, head: str, new_head: str, changes: Changes, watched: tuple[str, bytes] | None) -> bool:
        """Write ``changes``; return False when the store is not at ``head`` or ``watched`` not as it was.

        ``watched`` is a key and its content.
        """
        event = [[key, stored(key, value)] for key, value in changes.writes]
        names: list[str] = []
        arguments: list[str] = []
        for key, value in changes.writes:
            text = encoded(key, value).model_dump_json() if value is not None else ""
            names.append(self._name(f"state:{key}"))
            arguments += [key, text, text]
            if key == EVERYTHING.store_key:
                names.append(self._name("global"))
                arguments += ["", value.model_dump_json() if value is not None else "", ""]
        entries = [entry.model_dump_json() for entry in changes.audit]
        watched_key, content = watched or (self._name("head"), b"")
        fixed = [self._name(name) for name in ("head", "revisions", "deleted", "stream", "audit")]
        answer = self._script(
            keys=[*fixed, watched_key, *names],
            args=[
                *(head, new_head, changes.cursor.revision, json.dumps(event), self._name("changes")),
                *(self._audit_limit, self._stream_length, content, len(names), *arguments),
                *(len(entries), *entries),
            ],
        )
        return bool(answer)


def stored(key: str, value: Any) -> dict[str, Any] | None:
    """Return what is stored of an object: a route state, as JSON has it; maintenance travels as one, too."""
    state: RouteState | None = encoded(key, value) if value is not None else None
    return state.model_dump(mode="json") if state is not None else None
