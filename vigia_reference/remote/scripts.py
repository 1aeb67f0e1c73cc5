"""What the Redis server does in one step, in Lua.

A lease is a key beside the cached one: ``vigia:lease:KEY`` holds a token for as long as whoever
read that token may fill KEY.  A fence is a hash ``vigia:fence:ID`` with the patterns that are being
written; ``vigia:fences`` lists them.  Both run out by themselves when their owner dies.

The scripts find keys by pattern and make up the names of leases, so everything has to be on one
server; in a cluster the scripts would be refused.
"""

_FENCES = """
local function each_fence(look)
  for _, id in ipairs(redis.call('SMEMBERS', 'vigia:fences')) do
    local patterns = redis.call('HGET', 'vigia:fence:' .. id, 'patterns')
    if patterns then
      look(id, cjson.decode(patterns))
    else
      redis.call('SREM', 'vigia:fences', id)
    end
  end
end
"""

_DROP = """
local function drop(glob)
  for _, key in ipairs(redis.call('KEYS', 'vigia:lease:' .. glob)) do
    redis.call('DEL', key)
  end
  local dropped = 0
  for _, key in ipairs(redis.call('KEYS', glob)) do
    if string.sub(key, 1, 6) ~= 'vigia:' then
      dropped = dropped + redis.call('DEL', key)
    end
  end
  return dropped
end
"""

LEASE = f"""{_FENCES}
local key, token, milliseconds = KEYS[1], ARGV[1], ARGV[2]
local function matches(parts)
  -- parts are the texts around the stars of a pattern
  local first, last = parts[1], parts[#parts]
  if #parts == 1 then
    return key == first
  end
  if string.sub(key, 1, #first) ~= first then
    return false
  end
  local at = #first + 1
  for i = 2, #parts - 1 do
    local _, stop = string.find(key, parts[i], at, true)
    if not stop then
      return false
    end
    at = stop + 1
  end
  return #key - #last + 1 >= at and string.sub(key, #key - #last + 1) == last
end
local written = false
each_fence(function(_, patterns)
  for _, parts in ipairs(patterns) do
    written = written or matches(parts)
  end
end)
if written then
  return false
end
local lease = 'vigia:lease:' .. key
redis.call('SET', lease, token, 'NX', 'PX', milliseconds)
return redis.call('GET', lease)
"""
"""Takes a lease: the token that allows to fill, the same for all who read at once; or nothing."""

INVALIDATE = f"""{_DROP}
return drop(ARGV[1])
"""
"""Drops all that matches a pattern, and the leases of what matches whether it is there or not."""

BEGIN = f"""{_FENCES}{_DROP}
local id, milliseconds, patterns = ARGV[1], ARGV[2], ARGV[3]
local alone = 1
local own = {{}}
for i = 4, #ARGV do
  own[ARGV[i]] = true
  drop(ARGV[i])
end
each_fence(function(other)
  for _, glob in ipairs(cjson.decode(redis.call('HGET', 'vigia:fence:' .. other, 'globs'))) do
    if own[glob] then
      alone = 0
      redis.call('HSET', 'vigia:fence:' .. other, 'alone', 0)
    end
  end
end)
local globs = {{}}
for i = 4, #ARGV do
  globs[#globs + 1] = ARGV[i]
end
local fence = 'vigia:fence:' .. id
redis.call('HSET', fence, 'patterns', patterns, 'globs', cjson.encode(globs), 'alone', alone)
redis.call('PEXPIRE', fence, milliseconds)
redis.call('SADD', 'vigia:fences', id)
return alone
"""
"""Puts a fence up and drops what it covers."""

END = f"""{_DROP}
local id, milliseconds, value = ARGV[1], ARGV[2], ARGV[3]
local fence = 'vigia:fence:' .. id
local alone = redis.call('HGET', fence, 'alone')
redis.call('DEL', fence)
redis.call('SREM', 'vigia:fences', id)
if not alone then
  -- It has run out: what was read before the write may have been filled since.
  for i = 4, #ARGV do
    drop(ARGV[i])
  end
  return 0
end
if alone == '1' and KEYS[1] then
  redis.call('DEL', 'vigia:lease:' .. KEYS[1])
  redis.call('SET', KEYS[1], value, 'PX', milliseconds)
  return 1
end
return 0
"""
"""Takes a fence down and publishes what its writer has to tell, if it was the only writer."""
