-- ARGV: worker, seconds to keep a cancelled job, then the ids that it knows it holds. The others in its lists and those of
-- the other slots of its process, whose claims it never received, go back, and nothing is counted: not even a rescue, if
-- a reaper was quicker. Returns how many.
local at, held, returned = now(), {}, 0
for index = 3, #ARGV do held[ARGV[index]] = true end
for _, worker in ipairs(workers_of_process(ARGV[1])) do
  uncount_rescue(worker)
  for _, id in ipairs(redis.call('LRANGE', p .. 'processing:' .. worker, 0, -1)) do
    if not held[id] then
      local job = read_fields(id, 'state', 'worker', 'cancel')
      local claimed = job.state == 'processing' and job.worker == worker
      redis.call('LREM', p .. 'processing:' .. worker, 0, id)
      if claimed then redis.call('ZREM', p .. 'leases', id) end
      if claimed and job.cancel then
        finish(id, 'cancelled', at, ARGV[2], 'cancelled')
      elseif claimed or job.state == 'waiting' then
        redis.call('HSET', job_key(id), 'worker', '')
        wait_first(id)
        returned = returned + 1
      end
    end
  end
end
return returned
