-- ARGV: worker, seconds to keep a cancelled job. Requeue the jobs of a dead worker process: those of the worker of that
-- id and of the other slots of its process, whose ids go on with a slash and a number.
-- Returns a list of {id, role, state, topic}.
local at, rescued, prefix = now(), {}, ARGV[1] .. '/'
local dead = { ARGV[1] }
for _, worker in ipairs(redis.call('ZRANGE', p .. 'workers', 0, -1)) do
  if string.sub(worker, 1, #prefix) == prefix then dead[#dead + 1] = worker end
end
for _, worker in ipairs(dead) do
  for _, id in ipairs(redis.call('LRANGE', p .. 'processing:' .. worker, 0, -1)) do
    rescued[#rescued + 1] = rescue(id, worker, at, ARGV[2])
  end
  redis.call('DEL', p .. 'worker:' .. worker)
end
return rescued
