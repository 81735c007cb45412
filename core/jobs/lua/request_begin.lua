-- ARGV: key of a request, nonce, its fingerprint or '', lease seconds, seconds to keep.
-- Returns begun, or {running or done, fingerprint, response or ''}.
local key, at = p .. 'request:' .. ARGV[1], now()
local earlier = redis.call('HMGET', key, 'state', 'fingerprint', 'answer', 'until', 'nonce')
local ends = tonumber(earlier[4] or 0)
if earlier[1] == 'done' or earlier[1] == 'running' and ends > at and earlier[5] ~= ARGV[2] then
  return { earlier[1], earlier[2], earlier[3] or '' }
end
redis.call('HSET', key, 'state', 'running', 'nonce', ARGV[2], 'fingerprint', ARGV[3], 'until', stamp(at + ARGV[4]))
redis.call('EXPIRE', key, ARGV[5])
return 'begun'
