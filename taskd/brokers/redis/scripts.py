"""The Lua that moves messages between keys.  Redis runs a script as one step: nothing comes between.

Every script states its keys.  Times are the server's, so that workers with wrong clocks agree, unless a test
gives one.  A worker is known by its name and its generation; a script that finds another generation under
the name changes nothing and says so.

A server that is out of memory refuses a script's first write if that may need memory, and lets all later
ones pass.  So the first write of each script that workers need is one that only frees: a full server can
still be emptied by its workers, and their leases hold.  It refuses every transaction, even one that only
reads or deletes; so what must pass on a full server is a script.
"""

from __future__ import annotations

from taskd.brokers.redis.letter_scripts import FAILED_LETTERS
from taskd.storage.redis.link import Script

#: Members promoted or items moved at a time, so that no script holds the server for long.
MOST_AT_ONCE = 500

_NOW = """
local function seconds(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local function text(number) return string.format('%.6f', number) end
"""

#: Begin a generation: answers with its number and that of the former one, or an empty text.
OPEN = Script(
    _NOW
    + """
-- KEYS: owners, leases, sequence.  ARGV: name, lease in seconds, the present time or ''.
redis.call('ZREM', KEYS[2], '')
local former = redis.call('HGET', KEYS[1], ARGV[1])
local generation = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], ARGV[1], generation)
redis.call('ZADD', KEYS[2], text(seconds(ARGV[3]) + tonumber(ARGV[2])), generation .. ':' .. ARGV[1])
return {tostring(generation), former or ''}
"""
)

#: Make an exchange known, and members of sets: answers with the exchange's type, which may be another one's.
REGISTER = Script(
    """
-- KEYS: exchanges, sets.  ARGV: exchange or '', its type, a member for each set.
redis.call('HDEL', KEYS[1], '')
local kind = ARGV[2]
if ARGV[1] ~= '' then
  redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
  kind = redis.call('HGET', KEYS[1], ARGV[1])
end
if kind == ARGV[2] then
  for at = 2, #KEYS do redis.call('SADD', KEYS[at], ARGV[at + 1]) end
end
return kind
"""
)

#: Take up to a number of items out of a list, the latest first.
TAKE = Script(
    """
-- KEYS: list.  ARGV: how many.
local found = redis.call('LRANGE', KEYS[1], -ARGV[1], -1)
redis.call('LTRIM', KEYS[1], 0, -ARGV[1] - 1)
return found
"""
)

#: Prolong a lease: 1, or 0 when the generation has ended.
RENEW = Script(
    _NOW
    + """
-- KEYS: owners, leases.  ARGV: name, generation, lease in seconds, the present time or ''.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], '')
redis.call('ZADD', KEYS[2], text(seconds(ARGV[4]) + tonumber(ARGV[3])), ARGV[2] .. ':' .. ARGV[1])
return 1
"""
)

#: Claim up to a number of messages.  Answers with ``false`` for a generation that has ended.  Else it answers
#: with a lease (generation:name) that has run out or '', when the next delayed message is due or '', and the
#: tag of the first message.  Then comes for each list that gave some: its position among the lists, and its
#: messages.
CLAIM = Script(
    _NOW
    + f"""
-- KEYS: owners, leases, claims, sequence, delayed of each queue, lists by step and queue.
-- ARGV: name, generation, limit, number of queues, time for leases or '', time for what is due or ''.
-- The usual claim writes no number as text: that takes as long as three commands.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return false end
local left, queues = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = seconds('')
local own = ARGV[2] .. ':' .. ARGV[1]
local expired, renewed = '', tonumber(ARGV[5]) or now
local leases = redis.call('ZRANGE', KEYS[2], 0, 1, 'WITHSCORES')
for at = 1, #leases, 2 do
  if leases[at] ~= own and tonumber(leases[at + 1]) < renewed then expired = leases[at] end
end
local due, next_due = tonumber(ARGV[6]) or now, ''
for queue = 1, queues do
  local delayed = KEYS[4 + queue]
  local soonest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  if soonest and tonumber(soonest) <= due then
    local members = redis.call('ZRANGEBYSCORE', delayed, '-inf', text(due), 'LIMIT', 0, {MOST_AT_ONCE})
    for _, member in ipairs(members) do
      -- A stamp of 24 characters, the step, the envelope.
      local step = tonumber(string.sub(member, 25, 25))
      redis.call('ZREM', delayed, member)
      redis.call('LPUSH', KEYS[4 + queues + step * queues + queue], string.sub(member, 26))
    end
    soonest = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
  end
  if soonest and (next_due == '' or tonumber(soonest) < tonumber(next_due)) then next_due = soonest end
end
local answer, count, fields = {{expired, next_due, 0}}, 0, {{}}
for position = 1, #KEYS - 4 - queues do
  if left <= 0 then break end
  local key = KEYS[4 + queues + position]
  local found = redis.call('LRANGE', key, -left, -1)
  if #found > 0 then
    redis.call('LTRIM', key, 0, -#found - 1)
    left = left - #found
    count = count + #found
    answer[#answer + 1] = position
    answer[#answer + 1] = found
  end
end
if count > 0 then
  local tag = redis.call('INCRBY', KEYS[4], count) - count
  answer[3] = tag + 1
  for place = 4, #answer, 2 do
    local key, found = KEYS[4 + queues + answer[place]], answer[place + 1]
    for item = #found, 1, -1 do
      tag = tag + 1
      fields[#fields + 1] = tag
      fields[#fields + 1] = key .. '\\0' .. found[item]
      if #fields == 1000 then
        redis.call('HSET', KEYS[3], unpack(fields))
        fields = {{}}
      end
    end
  end
  if #fields > 0 then redis.call('HSET', KEYS[3], unpack(fields)) end
end
return answer
"""
)

#: Settle claims: 1, or 0 for a generation that has ended.  The steps behind a tag are done if the tag is
#: still claimed, so that a call that is made again after a lost answer does nothing twice.
SETTLE = Script(
    FAILED_LETTERS
    + """
-- KEYS: owners, claims, then those that the steps name.
-- ARGV: name, generation, number of tags to delete, the tags, then steps:
--   tag, 'RPUSH' | 'LPUSH', position of a key, envelope
--   tag, 'ZADD', position of a key, score, member
--   tag, 'DEAD', position of the letters' key, score, letter   (the key after it is their order by time)
--   tag, 'FAIL', position of the failed letters' key, score, letter   (two keys after it are of them, too)
--   tag, 'OVER', position of a set, id: take the id out of the set; the tag has a step of its own
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local plain = tonumber(ARGV[3])
for first = 4, 3 + plain, 1000 do
  redis.call('HDEL', KEYS[2], unpack(ARGV, first, math.min(first + 999, 3 + plain)))
end
local at = 4 + plain
while at <= #ARGV do
  local tag, verb, key = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local own = false
  if verb == 'OVER' then
    redis.call('SREM', KEYS[key], ARGV[at + 3])
  else
    own = redis.call('HDEL', KEYS[2], tag) == 1
  end
  if verb == 'RPUSH' or verb == 'LPUSH' or verb == 'OVER' then
    if own then redis.call(verb, KEYS[key], ARGV[at + 3]) end
    at = at + 4
  else
    if own and verb == 'ZADD' then redis.call('ZADD', KEYS[key], ARGV[at + 3], ARGV[at + 4]) end
    if own and verb == 'DEAD' then
      redis.call('HSET', KEYS[key], tag, ARGV[at + 4])
      redis.call('ZADD', KEYS[key + 1], ARGV[at + 3], tag)
    end
    if own and verb == 'FAIL' then
      keep_failed(KEYS[key], KEYS[key + 1], KEYS[key + 2], tag, ARGV[at + 3], ARGV[at + 4])
    end
    at = at + 5
  end
end
return 1
"""
)

#: Take over the claims of a generation that has ended, or whose lease has run out: they become the caller's.
#: Answers with tags and claims in turn, with nothing when there is nothing to take, and with ``false`` for a
#: caller that has ended itself.
ADOPT = Script(
    _NOW
    + """
-- KEYS: owners, leases, claims of the other, claims of the caller.
-- ARGV: name, generation, the other's lease (generation:name), the present time or '',
--   1 to take a lease that still runs.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return false end
local ends = redis.call('ZSCORE', KEYS[2], ARGV[3])
if ARGV[5] ~= '1' and (not ends or tonumber(ends) >= seconds(ARGV[4])) then return {} end
redis.call('ZREM', KEYS[2], ARGV[3])
local generation, name = string.match(ARGV[3], '^(%d+):(.*)$')
if redis.call('HGET', KEYS[1], name) == generation then redis.call('HDEL', KEYS[1], name) end
local claims = redis.call('HGETALL', KEYS[3])
for first = 1, #claims, 1000 do
  redis.call('HSET', KEYS[4], unpack(claims, first, math.min(first + 999, #claims)))
end
redis.call('DEL', KEYS[3])
return claims
"""
)

#: After a connection was lost: answers with the tags that the generation has claimed.
RECOVER = Script(
    """
-- KEYS: claims, sequence.  ARGV: the highest tag that the caller has seen.
-- A server that has lost its last second gives out no tag twice.
redis.call('HDEL', KEYS[1], '')
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if last < tonumber(ARGV[1]) then redis.call('SET', KEYS[2], ARGV[1]) end
return redis.call('HKEYS', KEYS[1])
"""
)

#: End a generation that holds nothing any more.
CLOSE = Script(
    """
-- KEYS: owners, leases, claims.  ARGV: name, generation.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[2] .. ':' .. ARGV[1])
redis.call('DEL', KEYS[3])
return 1
"""
)

#: Count what waits and what is claimed in one step, so that no message is missed on its way from one to the
#: other.  Answers with the lengths of the lists, and with the due messages of each delayed set and its size
#: in turn.  Then comes each list from which something is claimed, and how much, in turn.
COUNT = Script(
    """
-- KEYS: claims of each generation, lists, delayed of each queue.
-- ARGV: number of generations, number of lists, what is due by now.
local generations, lists = tonumber(ARGV[1]), tonumber(ARGV[2])
local lengths, delayed, counts, claimed = {}, {}, {}, {}
for at = 1, generations do
  for _, claim in ipairs(redis.call('HVALS', KEYS[at])) do
    local list = string.sub(claim, 1, string.find(claim, '\\0', 1, true) - 1)
    counts[list] = (counts[list] or 0) + 1
  end
end
for at = generations + 1, generations + lists do lengths[#lengths + 1] = redis.call('LLEN', KEYS[at]) end
for at = generations + lists + 1, #KEYS do
  delayed[#delayed + 1] = redis.call('ZCOUNT', KEYS[at], '-inf', ARGV[3])
  delayed[#delayed + 1] = redis.call('ZCARD', KEYS[at])
end
for list, count in pairs(counts) do
  claimed[#claimed + 1] = list
  claimed[#claimed + 1] = count
end
return {lengths, delayed, claimed}
"""
)

#: Delete what waits in a queue: answers with how many there were.
PURGE = Script(
    """
-- KEYS: lists of the queue, its delayed set.
local count = redis.call('ZCARD', KEYS[#KEYS])
for at = 1, #KEYS - 1 do count = count + redis.call('LLEN', KEYS[at]) end
redis.call('DEL', unpack(KEYS))
return count
"""
)

#: Send messages whose ids are new.  Answers with the ids that were refused, ``false`` when it is too late.
ONCE = Script(
    _NOW
    + """
-- KEYS: ids, those that are not over, queues, then the lists that the steps name.
-- ARGV: latest time, the present time or '', then id, queue, position of a list, envelope, in turn.
local now = seconds(ARGV[2])
if now >= tonumber(ARGV[1]) then return false end
local refused = {}
for at = 3, #ARGV, 4 do
  if redis.call('ZADD', KEYS[1], 'NX', text(now), ARGV[at]) == 1 then
    redis.call('SADD', KEYS[2], ARGV[at])
    redis.call('SADD', KEYS[3], ARGV[at + 1])
    redis.call('LPUSH', KEYS[tonumber(ARGV[at + 2])], ARGV[at + 3])
  else
    refused[#refused + 1] = ARGV[at]
  end
end
return refused
"""
)

#: Forget ids that were sent long ago and are over: answers with how many were looked at.
FORGET = Script(
    f"""
-- KEYS: ids, those that are not over.  ARGV: the latest time, how many to pass over.
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1], 'LIMIT', ARGV[2], {MOST_AT_ONCE})
local kept = 0
for _, id in ipairs(old) do
  if redis.call('SISMEMBER', KEYS[2], id) == 1 then kept = kept + 1 else redis.call('ZREM', KEYS[1], id) end
end
return {{#old, kept}}
"""
)

#: Put back what Celery workers claimed long ago: answers with how many messages went back.  A claim that was
#: settled or renewed since it was read stays as it is.
RESTORE = Script(
    """
-- KEYS: what Celery workers have claimed, when, then the lists that the steps name.
-- ARGV: the latest time of a claim, then tag, number of lists, their positions, envelope, in turn.
local count, at = 0, 2
while at <= #ARGV do
  local tag, lists = ARGV[at], tonumber(ARGV[at + 1])
  local since = redis.call('ZSCORE', KEYS[2], tag)
  if since and tonumber(since) <= tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[2], tag)
    if redis.call('HDEL', KEYS[1], tag) == 1 then
      for list = 1, lists do
        redis.call('RPUSH', KEYS[tonumber(ARGV[at + 1 + list])], ARGV[at + 2 + lists])
      end
      count = count + 1
    end
  end
  at = at + 3 + lists
end
return count
"""
)

#: Count what Celery workers have claimed, a piece at a time: answers with the size of the piece, and with
#: exchange, routing key and how many in turn.
UNACKED = Script(
    f"""
-- KEYS: what Celery workers have claimed, when.  ARGV: how many to pass over.
local tags = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[1] + {MOST_AT_ONCE} - 1)
local counts, answer = {{}}, {{#tags}}
for _, claim in ipairs(#tags > 0 and redis.call('HMGET', KEYS[1], unpack(tags)) or {{}}) do
  -- JSON: the envelope, then two texts.
  local exchange, key = string.match(claim or '', '"([^"]*)", ?"([^"]*)"%]$')
  if exchange then
    local place = exchange .. '\\0' .. key
    counts[place] = (counts[place] or 0) + 1
  end
end
for place, count in pairs(counts) do
  answer[#answer + 1] = place
  answer[#answer + 1] = count
end
return answer
"""
)
