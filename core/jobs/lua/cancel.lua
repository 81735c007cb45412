-- ARGV: id, seconds to keep the job. Returns its state afterwards, or nothing for an unknown job.
local id = ARGV[1]
local job = read_fields(id, 'state', 'list')
if job.state == 'processing' then
  redis.call('HDEL', job_key(id), 'cancel')
  redis.call('HSET', job_key(id), 'cancel', '1')
  redis.call('PUBLISH', p .. 'cancels', id)
elseif job.state == 'waiting' or job.state == 'delayed' then
  -- Between the pop and the claim it is in neither; the claim finds it cancelled and drops it.
  redis.call('ZREM', p .. 'delayed', id)
  remove_from_list(job.list, id)
  finish(id, 'cancelled', now(), ARGV[2], 'cancelled')
  return 'cancelled'
end
return job.state
