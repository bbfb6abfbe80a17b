"""One request as one Lua script: all its counters are looked at, then all are charged or none.

A fixed window is a string (end, count), a token bucket a string (last seen, level), both read with one
MGET; a sliding window is a list of moments, oldest first. Times are in microseconds. A clock that goes
back (another server after a failover) only stands still for a key: the time lost is not counted.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

from shield_core.models import Algorithm
from shield_core.rate_limit.counters import Counter, Verdict

# KEYS: one per counter. ARGV[1]: per counter a record of _SPEC, one after the other.
# Returns per counter three doubles: remaining (-1 denies), reset_after and retry_after in seconds.
SCRIPT = """
local spec, time = ARGV[1], redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local found = redis.call('MGET', unpack(KEYS))
local function milliseconds(life) return math.max(1, math.ceil(life / 1000)) + SPARE end
local admitted, answer, writes, lives, at = true, {}, {}, {}, 1
for i = 1, #KEYS do
  local kind, shadow, capacity, period, interval
  kind, shadow, capacity, period, interval, at = struct.unpack('<BBddd', spec, at)
  local state, left, reset, retry = found[i], -1, 0, 0
  if kind == 0 then
    local till, count = now - now % period + period, 0
    if state then
      local ends, counted = struct.unpack('<dd', state)
      if ends > now + period then -- the period was another one
        count = counted
        redis.call('SET', KEYS[i], struct.pack('<dd', till, count), 'PX', milliseconds(till - now))
      elseif ends > now then
        till, count = ends, counted
      end
    end
    reset = till - now
    if count < capacity then
      left = capacity - count - 1
      writes[i], lives[i] = struct.pack('<dd', till, count + 1), reset
    else
      retry = reset
    end
  elseif kind == 1 then
    local level = 0
    if state then
      local last, filled = struct.unpack('<dd', state)
      level = math.max(0, filled - math.max(0, now - last))
      if now < last or level > interval * capacity then -- the limit was another one
        level = math.min(level, interval * capacity)
        redis.call('SET', KEYS[i], struct.pack('<dd', now, level), 'PX', milliseconds(level))
      end
    end
    local room = interval * capacity - level - interval
    if room >= interval * -1e-6 then
      left, reset = math.floor(room / interval + 1e-6), level + interval
      writes[i], lives[i] = struct.pack('<dd', now, reset), reset
    else
      reset, retry = level, -room
    end
  else
    local key, length, oldest = KEYS[i], 0, nil
    local newest = tonumber(redis.call('LINDEX', key, -1) or nil)
    if newest and newest <= now - period then
      redis.call('DEL', key)
    elseif newest then
      if newest > now then
        local moments = redis.call('LRANGE', key, 0, -1)
        redis.call('DEL', key)
        for _, moment in ipairs(moments) do redis.call('RPUSH', key, moment - newest + now) end
        redis.call('PEXPIRE', key, milliseconds(period))
        newest = now
      end
      length = redis.call('LLEN', key)
      oldest = tonumber(redis.call('LINDEX', key, 0))
      if oldest <= now - period then -- the first that counts is sought in steps that double, then halve
        local first, last = 1, 1
        while last < length - 1 and tonumber(redis.call('LINDEX', key, last)) <= now - period do
          first, last = last + 1, math.min(last * 2, length - 1)
        end
        while first < last do
          local middle = math.floor((first + last) / 2)
          if tonumber(redis.call('LINDEX', key, middle)) <= now - period then
            first = middle + 1
          else
            last = middle
          end
        end
        redis.call('LTRIM', key, first, -1)
        length = length - first
        oldest = tonumber(redis.call('LINDEX', key, 0))
      end
    end
    if length < capacity then
      left, reset = capacity - length - 1, period
      writes[i], lives[i] = false, period
    else
      if length > capacity then oldest = tonumber(redis.call('LINDEX', key, length - capacity)) end
      reset, retry = newest + period - now, oldest + period - now
    end
  end
  if left < 0 and shadow == 0 then admitted = false end
  answer[i] = struct.pack('<ddd', left, reset / 1000000, retry / 1000000)
end
if admitted then
  for i, life in pairs(lives) do
    if writes[i] then
      redis.call('SET', KEYS[i], writes[i], 'PX', milliseconds(life))
    else
      redis.call('RPUSH', KEYS[i], now)
      redis.call('PEXPIRE', KEYS[i], milliseconds(life))
    end
  end
end
return table.concat(answer)
"""
#: Milliseconds that keys live longer than they count.
SPARE = 0

_KINDS = {Algorithm.FIXED_WINDOW: 0, Algorithm.TOKEN_BUCKET: 1, Algorithm.SLIDING_WINDOW: 2}
_SPEC = struct.Struct("<BBddd")
_VERDICT = struct.Struct("<ddd")
#: How many combinations of counters are remembered.
_REMEMBERED = 4096


class _Call(NamedTuple):
    """What is the same for all requests with the same counters."""

    head: bytes
    prefixes: tuple[bytes, ...]
    spec: bytes
    tail: bytes


class Script:
    """Writes the command of a request, in the Redis protocol, and reads its answer."""

    def __init__(self, key_prefix: str, text: str = SCRIPT) -> None:
        self.text = text.replace("SPARE", str(SPARE))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        # All keys stand in one slot of a cluster.
        self.prefix = key_prefix if "{" in key_prefix else f"{key_prefix}{{limits}}:"
        self._calls: dict[tuple[Counter, ...], _Call] = {}

    def command(self, counters: Sequence[Counter], keys: Sequence[str]) -> bytes:
        """Return the packed EVALSHA."""
        call = self._call(counters)
        parts = [call.head]
        for prefix, key in zip(call.prefixes, keys):  # noqa: B905 - the hot path
            name = prefix + key.encode(errors="surrogatepass")
            parts.append(b"$%d\r\n%b\r\n" % (len(name), name))
        parts.append(call.tail)
        return b"".join(parts)

    def in_full(self, command: bytes) -> bytes:
        """Return ``command`` with the script itself, for a server that does not know it."""
        text = self.text.encode()
        return command.replace(_evalsha(self.sha), b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(text), text), 1)

    def arguments(
        self, counters: Sequence[Counter], keys: Sequence[str]
    ) -> tuple[int, list[bytes | int | str]]:
        """Return the number of keys, and the keys and arguments as a client takes them."""
        call = self._call(counters)
        names: list[bytes | int | str] = [
            prefix + key.encode(errors="surrogatepass")
            for prefix, key in zip(call.prefixes, keys, strict=True)
        ]
        return len(names), [*names, call.spec]

    def verdicts(self, answer: bytes) -> Sequence[Verdict]:
        return [
            (left >= 0, int(left) if left > 0 else 0, reset, retry)
            for left, reset, retry in _VERDICT.iter_unpack(answer)
        ]

    def _call(self, counters: Sequence[Counter]) -> _Call:
        asked = tuple(counters)
        found = self._calls.get(asked)
        if found is None:
            if len(self._calls) >= _REMEMBERED:
                self._calls = {}
            found = self._calls[asked] = self._prepared(asked)
        return found

    def _prepared(self, counters: tuple[Counter, ...]) -> _Call:
        spec = b"".join(
            _SPEC.pack(
                _KINDS[counter.algorithm],
                counter.shadow,
                counter.capacity,
                counter.seconds * 1e6,
                counter.interval * 1e6,
            )
            for counter in counters
        )
        count = b"%d" % len(counters)
        head = b"*%d\r\n%b$%d\r\n%b\r\n" % (len(counters) + 4, _evalsha(self.sha), len(count), count)
        prefixes = tuple(f"{self.prefix}{counter.table}|".encode() for counter in counters)
        return _Call(head, prefixes, spec, b"$%d\r\n%b\r\n" % (len(spec), spec))


def _evalsha(sha: str) -> bytes:
    return b"$7\r\nEVALSHA\r\n$%d\r\n%b\r\n" % (len(sha), sha.encode())
