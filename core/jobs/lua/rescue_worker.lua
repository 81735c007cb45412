-- ARGV: worker, seconds to keep a cancelled job. Requeue the jobs of a dead process, those of all its slots.
-- Returns a list of {id, role, state, topic}.
local at, rescued = now(), {}
for _, worker in ipairs(workers_of_process(ARGV[1])) do
  for _, id in ipairs(redis.call('LRANGE', p .. 'processing:' .. worker, 0, -1)) do
    rescued[#rescued + 1] = rescue(id, worker, at, ARGV[2])
  end
  redis.call('DEL', p .. 'worker:' .. worker)
end
return rescued
