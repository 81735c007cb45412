-- ARGV: id, token, worker, lease seconds. Returns held, cancel or lost.
local id = ARGV[1]
local job = read_fields(id, 'state', 'token', 'worker', 'cancel')
if not holds_lease(job, ARGV[2], ARGV[3]) then return 'lost' end
redis.call('ZREM', p .. 'leases', id)
redis.call('ZADD', p .. 'leases', stamp(now() + ARGV[4]), id)
return job.cancel and 'cancel' or 'held'
