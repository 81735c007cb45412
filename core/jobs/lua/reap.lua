-- ARGV: maximum number of jobs, lease seconds, seconds of grace for an id without a claim, seconds without a reaper
-- that mean an outage, seconds until a silent worker is forgotten, seconds to keep a cancelled job.
-- One script is its own lock: a second reaper finds nothing left to do. Returns a list of {id, role, state, topic}.
local at, rescued = now(), {}
local maximum, keep = tonumber(ARGV[1]), ARGV[6]

-- Where no reaper could run, no worker could renew a lease: after an outage each has one more lease to come back in.
local last = tonumber(redis.call('GET', p .. 'reaped_at'))
redis.call('DEL', p .. 'reaped_at')
redis.call('SET', p .. 'reaped_at', stamp(at))
if last and at - last > tonumber(ARGV[4]) then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'leases', '-inf', stamp(at))) do
    redis.call('ZADD', p .. 'leases', stamp(at + ARGV[2]), id)
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'leases', '-inf', stamp(at), 'LIMIT', 0, maximum)) do
  local worker = redis.call('HGET', job_key(id), 'worker')
  redis.call('ZREM', p .. 'leases', id)
  if worker then rescued[#rescued + 1] = rescue(id, worker, at, keep) end
end

-- Ids that a pop moved and nobody claimed: a client may be about to, so they are seen twice before they go back.
local seen = {}
for _, worker in ipairs(redis.call('ZRANGE', p .. 'workers', 0, -1)) do
  local own = redis.call('LRANGE', p .. 'processing:' .. worker, 0, -1)
  for _, id in ipairs(own) do
    local job = read_fields(id, 'state', 'worker')
    if not (job.state == 'processing' and job.worker == worker) then
      local pair = worker .. ' ' .. id
      local since = tonumber(redis.call('HGET', p .. 'unclaimed', pair))
      if since and at - since >= tonumber(ARGV[3]) then
        rescued[#rescued + 1] = rescue(id, worker, at, keep)
      else
        seen[#seen + 1] = pair
        seen[#seen + 1] = stamp(since or at)
      end
    end
  end
  local heartbeat = tonumber(redis.call('ZSCORE', p .. 'workers', worker))
  if #own == 0 and at - heartbeat > tonumber(ARGV[5]) then
    redis.call('ZREM', p .. 'workers', worker)
    redis.call('DEL', p .. 'worker:' .. worker)
  end
end
redis.call('DEL', p .. 'unclaimed')
for first = 1, #seen, 2 do redis.call('HSET', p .. 'unclaimed', seen[first], seen[first + 1]) end
return rescued
