-- ARGV: key of a request, nonce, its fingerprint or '', lease seconds, seconds to keep.
-- Returns begun, or {running or done, fingerprint, answer or ''}.
local key, at = p .. 'request:' .. ARGV[1], now()
local known = redis.call('HMGET', key, 'state', 'fingerprint', 'answer', 'until', 'nonce')
local ends = tonumber(known[4] or 0)
if known[1] == 'done' or known[1] == 'running' and ends > at and known[5] ~= ARGV[2] then
  return { known[1], known[2], known[3] or '' }
end
redis.call('HSET', key, 'state', 'running', 'nonce', ARGV[2], 'fingerprint', ARGV[3], 'until', stamp(at + ARGV[4]))
redis.call('EXPIRE', key, ARGV[5])
return 'begun'
