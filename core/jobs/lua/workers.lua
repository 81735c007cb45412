-- Returns {id, seconds since its last heartbeat, the job it holds or '', fields} of each registered worker.
local at, workers = now(), {}
for _, id in ipairs(redis.call('ZRANGE', p .. 'workers', 0, -1)) do
  local fields = redis.call('HGETALL', p .. 'worker:' .. id)
  if #fields > 0 then
    local silent = stamp(at - redis.call('ZSCORE', p .. 'workers', id))
    workers[#workers + 1] = { id, silent, redis.call('LINDEX', p .. 'processing:' .. id, -1) or '', fields }
  end
end
return workers
