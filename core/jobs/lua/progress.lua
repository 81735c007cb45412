-- ARGV: id, token, worker, lease seconds, kind, data, nonce, seconds to keep the job's history, and the topic's.
-- Renew the lease and publish an event; the nonce keeps a repetition from publishing it twice.
-- Returns held, cancel or lost.
local id, kind, data, nonce = ARGV[1], ARGV[5], ARGV[6], ARGV[7]
local job = read_fields(id, 'state', 'token', 'worker', 'cancel', 'topic', 'told', 'keep')
if not holds_lease(job, ARGV[2], ARGV[3]) then return 'lost' end
redis.call('ZREM', p .. 'leases', id)
redis.call('ZADD', p .. 'leases', stamp(now() + ARGV[4]), id)
if job.told ~= nonce then
  redis.call('HSET', job_key(id), 'told', nonce)
  publish(id, kind, data, ARGV[8])
  if job.topic and job.topic ~= id then publish(job.topic, kind, data, ARGV[9]) end
end
return job.cancel and 'cancel' or 'held'
