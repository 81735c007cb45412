-- ARGV: key of a request, nonce, action: keep (its lease, for ARGV[4] seconds), free (for the next request, which goes on
-- with the same ids), or remember (ARGV[4] fingerprint, ARGV[5] response, for ARGV[6] seconds). Returns 1, or 0 when
-- another request has the key.
local key, action = p .. 'request:' .. ARGV[1], ARGV[3]
if redis.call('HGET', key, 'nonce') ~= ARGV[2] then return 0 end
if action == 'keep' then
  redis.call('HSET', key, 'until', stamp(now() + ARGV[4]))
elseif action == 'free' then
  redis.call('HSET', key, 'state', 'free')
else
  redis.call('HSET', key, 'state', 'done', 'fingerprint', ARGV[4], 'answer', ARGV[5])
  redis.call('EXPIRE', key, ARGV[6])
end
return 1
