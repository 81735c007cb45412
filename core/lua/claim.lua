-- ARGV: worker, list, lease seconds, seconds to keep a cancelled job. Returns {id, end of the lease, fields} or nothing.
--
-- A worker holds one job at a time. What its own list names already comes first: a blocking pop moved it there,
-- or the answer to its last claim was lost.
local worker, list, at = ARGV[1], p .. ARGV[2], now()
local own = p .. 'processing:' .. worker
local id = redis.call('LINDEX', own, -1)
while true do
  if not id then
    id = redis.call('RPOP', list)
    if not id then
      redis.call('ZADD', p .. 'workers', stamp(at), worker)
      return false
    end
    redis.call('LPUSH', own, id)
  end
  local job = read(id, 'state', 'worker', 'cancel')
  local lost = job.state == 'processing' and job.worker == worker
  if lost and job.cancel then
    let_go(id, worker)
    finish(id, 'cancelled', at, ARGV[4], 'cancelled')
  elseif lost or job.state == 'waiting' then
    local ends = stamp(at + ARGV[3])
    redis.call('ZREM', p .. 'leases', id)
    redis.call('ZADD', p .. 'leases', ends, id)
    redis.call('HINCRBY', job_key(id), 'token', 1)
    redis.call('HSET', job_key(id), 'state', 'processing', 'worker', worker, 'started_at', stamp(at))
    return { id, ends, redis.call('HGETALL', job_key(id)) }
  else
    -- Cancelled between the pop and the claim, or forgotten.
    redis.call('LREM', own, 0, id)
  end
  id = redis.call('LINDEX', own, -1)
end
