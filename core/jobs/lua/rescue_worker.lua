-- ARGV: worker, seconds to keep a cancelled job. Requeue the jobs of a dead worker.
-- Returns a list of {id, role, state, topic}.
local worker, at, rescued = ARGV[1], now(), {}
for _, id in ipairs(redis.call('LRANGE', p .. 'processing:' .. worker, 0, -1)) do
  rescued[#rescued + 1] = rescue(id, worker, at, ARGV[2])
end
redis.call('DEL', p .. 'worker:' .. worker)
return rescued
