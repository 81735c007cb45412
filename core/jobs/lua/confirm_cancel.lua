-- ARGV: id, token, worker, seconds to keep the job. End a job whose worker stopped on request.
-- Returns 1, or 0 when the lease is lost or nobody requested it.
local id, token, worker = ARGV[1], ARGV[2], ARGV[3]
local job = read_fields(id, 'state', 'token', 'worker', 'cancel')
if holds_lease(job, token, worker) and job.cancel then
  end_claim(id, worker)
  finish(id, 'cancelled', now(), ARGV[4], 'cancelled')
  return 1
end
return job.state == 'cancelled' and job.token == token and 1 or 0
