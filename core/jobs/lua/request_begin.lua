-- ARGV: key of a request, nonce, its fingerprint or '', lease seconds, seconds to keep, a seed for a request without one.
-- Returns {begun, seed, 1 if an earlier request had that seed}, or {running or done, fingerprint, response or ''}.
local key, at = p .. 'request:' .. ARGV[1], now()
local earlier = redis.call('HMGET', key, 'state', 'fingerprint', 'answer', 'until', 'nonce', 'seed')
local ends = tonumber(earlier[4] or 0)
if earlier[1] == 'done' or earlier[1] == 'running' and ends > at and earlier[5] ~= ARGV[2] then
  return { earlier[1], earlier[2], earlier[3] or '' }
end
local seed = earlier[6]
-- Another body is another request; that of an upload is known only when it has been received.
local other = earlier[2] and earlier[2] ~= '' and ARGV[3] ~= '' and earlier[2] ~= ARGV[3]
local repeated = seed and not other and earlier[5] ~= ARGV[2]
if not seed or other then seed = ARGV[6] end
redis.call('HSET', key, 'state', 'running', 'nonce', ARGV[2], 'fingerprint', ARGV[3], 'seed', seed,
  'until', stamp(at + ARGV[4]))
redis.call('EXPIRE', key, ARGV[5])
return { 'begun', seed, repeated and 1 or 0 }
