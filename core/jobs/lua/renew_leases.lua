-- ARGV: lease seconds, how many leases, id, token and worker of each, then workers. Renew the leases of a process and
-- record that its workers are alive. Returns held, cancel or lost for each lease.
local ends, statuses, first = stamp(now() + ARGV[1]), {}, 3
for index = 1, tonumber(ARGV[2]) do
  local id = ARGV[first]
  local job = read_fields(id, 'state', 'token', 'worker', 'cancel')
  if holds_lease(job, ARGV[first + 1], ARGV[first + 2]) then
    redis.call('ZREM', p .. 'leases', id)
    redis.call('ZADD', p .. 'leases', ends, id)
    statuses[index] = job.cancel and 'cancel' or 'held'
  else
    statuses[index] = 'lost'
  end
  first = first + 3
end
for index = first, #ARGV do
  redis.call('ZREM', p .. 'workers', ARGV[index])
  redis.call('ZADD', p .. 'workers', stamp(now()), ARGV[index])
end
return statuses
