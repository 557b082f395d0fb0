"""The Lua of beat's store on Redis: each script is one step, with every key that it touches stated.

Times are the server's, so that beats of all hosts agree, unless a test gives one.
"""

from __future__ import annotations

from taskd.storage.redis.link import Script

_NOW = """
local function seconds(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
"""

#: Take or extend the lease.  Answers with the term, the holder, how many seconds are left as text, and the
#: holder's boot.
LEAD = Script(
    _NOW
    + """
-- KEYS: state.
-- ARGV: who asks, its boot, lease in seconds, 1 to succeed one whose lease has ended, who is known to be dead
--   or '', the present time or ''.
local now = seconds(ARGV[6])
local lease = redis.call('HMGET', KEYS[1], 'term', 'holder', 'until', 'boot')
local term, holder = tonumber(lease[1] or 0), lease[2] or ''
local ends, boot = tonumber(lease[3] or 0), lease[4] or ''
if holder ~= ARGV[1] then
  if holder ~= '' and holder ~= ARGV[5] and not (ARGV[4] == '1' and now >= ends) then
    return {term, holder, string.format('%.6f', ends - now), boot}
  end
  term = term + 1
end
ends = string.format('%.6f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'term', term, 'holder', ARGV[1], 'until', ends, 'boot', ARGV[2])
return {term, ARGV[1], ARGV[3], ARGV[2]}
"""
)

#: End the lease: 1 if it was the caller's.
RESIGN = Script(
    """
-- KEYS: state.  ARGV: who asks, the channel of wake-ups.
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'holder', '', 'until', 0)
redis.call('PUBLISH', ARGV[2], '')
return 1
"""
)

#: Write under a term: answers with the latest term; nothing is written when that is another.
RECORD = Script(
    """
-- KEYS: state, marks, requests, entries by their latest decision, then the histories that the steps name.
-- ARGV: term, most decisions of an entry, number of marks, name and mark in turn, number of decisions,
--   position of a history, name and decision in turn, then the requests that are done.
local term = redis.call('HGET', KEYS[1], 'term') or '0'
if term ~= ARGV[1] then return tonumber(term) end
local most, at = tonumber(ARGV[2]), 4
for _ = 1, tonumber(ARGV[3]) do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  at = at + 2
end
local decisions = tonumber(ARGV[at])
at = at + 1
for _ = 1, decisions do
  local number = redis.call('HINCRBY', KEYS[1], 'decisions', 1)
  local history = KEYS[tonumber(ARGV[at])]
  redis.call('LPUSH', history, string.format('%016d', number) .. ARGV[at + 2])
  redis.call('LTRIM', history, 0, most - 1)
  redis.call('ZADD', KEYS[4], number, ARGV[at + 1])
  at = at + 3
end
while at <= #ARGV do
  redis.call('HDEL', KEYS[3], ARGV[at])
  at = at + 1
end
return tonumber(term)
"""
)

#: A change by an operator: answers with 1, or with 0 when there was nothing to change.
CHANGE = Script(
    """
-- KEYS: state, the hash of entries or pauses.
-- ARGV: 'put' | 'remove' | 'pause' | 'resume', name, who, when, the channel of wake-ups, an entry's text.
local former = redis.call('HGET', KEYS[2], ARGV[2])
local row = former and cjson.decode(former)
if ARGV[1] == 'remove' and not (row and row.text) then return 0 end
if ARGV[1] == 'resume' and (not row or row.to) then return 0 end
local new = {by = ARGV[3], at = ARGV[4], revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)}
if ARGV[1] == 'put' then new.text = ARGV[6] end
if ARGV[1] == 'pause' then
  new.since = ARGV[4]
  if row and not row.to then new.since = row.since end
end
if ARGV[1] == 'resume' then
  new.since, new.to = row.since, ARGV[4]
end
redis.call('HSET', KEYS[2], ARGV[2], cjson.encode(new))
redis.call('PUBLISH', ARGV[5], '')
return 1
"""
)

#: Ask for a run: answers with the number of the request.
REQUEST = Script(
    """
-- KEYS: state, requests.  ARGV: the request's text, the channel of wake-ups.
local number = redis.call('HINCRBY', KEYS[1], 'requests', 1)
redis.call('HINCRBY', KEYS[1], 'revision', 1)
redis.call('HSET', KEYS[2], number, ARGV[1])
redis.call('PUBLISH', ARGV[2], '')
return number
"""
)
