-- ARGV: id, token, worker, seconds to keep a cancelled job. Return a job to its list; nothing is counted.
-- Returns 1, or 0 when the lease is lost.
local id, token, worker = ARGV[1], ARGV[2], ARGV[3]
local job = read_fields(id, 'state', 'token', 'worker', 'cancel', 'ended')
if not holds_lease(job, token, worker) then
  return job.ended == 'released ' .. token and job.token == token and 1 or 0
end
end_claim(id, worker)
redis.call('HSET', job_key(id), 'ended', 'released ' .. token, 'worker', '')
if job.cancel then finish(id, 'cancelled', now(), ARGV[4], 'cancelled') else wait_first(id) end
return 1
