"""The Lua for letters: of failed tasks kept and taken away, of both kinds deleted and sent again.

``scripts`` says what all scripts have in common.
"""

from __future__ import annotations

from taskd.storage.redis.link import Script

#: Letters of tasks that failed for good: the letters, their order by time, their totals.
FAILED_LETTERS = """
local function place(letter)
  local queue, size = string.match(letter, '^([^%z]*)%z(%d+)%z')
  return 'queue:' .. queue, size
end
local function keep_failed(letters, by_time, totals, id, score, letter)
  local queue, size = place(letter)
  redis.call('HSET', letters, id, letter)
  redis.call('ZADD', by_time, score, id)
  redis.call('HINCRBY', totals, 'bytes', size)
  redis.call('HINCRBY', totals, queue, 1)
end
local function drop_failed(letters, by_time, totals, id)
  local letter = redis.call('HGET', letters, id)
  if not letter then return false end
  local queue, size = place(letter)
  redis.call('HDEL', letters, id)
  redis.call('ZREM', by_time, id)
  if redis.call('HLEN', letters) == 0 then
    redis.call('DEL', totals)
  else
    redis.call('HINCRBY', totals, 'bytes', -size)
    if redis.call('HINCRBY', totals, queue, -1) == 0 then redis.call('HDEL', totals, queue) end
  end
  return true
end
"""

#: Keep letters of failed tasks whose messages nobody has claimed.
KEEP = Script(
    FAILED_LETTERS
    + """
-- KEYS: sequence, failed letters, their order by time, their totals.  ARGV: score, then letters.
redis.call('HDEL', KEYS[2], '')
for at = 2, #ARGV do
  keep_failed(KEYS[2], KEYS[3], KEYS[4], redis.call('INCR', KEYS[1]), ARGV[1], ARGV[at])
end
"""
)

#: Delete failed letters beyond their bounds, the oldest first: answers with how many.
PRUNE = Script(
    FAILED_LETTERS
    + """
-- KEYS: failed letters, their order by time, their totals.
-- ARGV: the earliest time, how many, how many bytes, how many to delete at most.
local gone = 0
while gone < tonumber(ARGV[4]) do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if not oldest[1] then break end
  local bytes = tonumber(redis.call('HGET', KEYS[3], 'bytes') or '0')
  local fits = redis.call('ZCARD', KEYS[2]) <= tonumber(ARGV[2]) and bytes <= tonumber(ARGV[3])
  if fits and tonumber(oldest[2]) >= tonumber(ARGV[1]) then break end
  if not drop_failed(KEYS[1], KEYS[2], KEYS[3], oldest[1]) then redis.call('ZREM', KEYS[2], oldest[1]) end
  gone = gone + 1
end
return gone
"""
)

_LETTERS = (
    FAILED_LETTERS
    + """
local function drop(id)
  if redis.call('HDEL', KEYS[1], id) == 1 then
    redis.call('ZREM', KEYS[2], id)
    return true
  end
  return drop_failed(KEYS[3], KEYS[4], KEYS[5], id)
end
"""
)

#: Delete letters: answers with how many there were.
DROP = Script(
    _LETTERS
    + """
-- KEYS: dead letters, their order by time; failed letters, their order by time, their totals.  ARGV: ids.
local count = 0
for at = 1, #ARGV do
  count = count + (drop(ARGV[at]) and 1 or 0)
end
return count
"""
)

#: Send letters again: answers with how many were there.
REVIVE = Script(
    _LETTERS
    + """
-- KEYS: dead letters, their order by time; failed letters, their order by time, their totals; then the lists
-- that the steps name.
-- ARGV: id, position of a list, envelope, in turn.
local count = 0
for at = 1, #ARGV, 3 do
  if drop(ARGV[at]) then
    redis.call('LPUSH', KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2])
    count = count + 1
  end
end
return count
"""
)
