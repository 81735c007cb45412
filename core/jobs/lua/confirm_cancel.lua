-- ARGV: id, token, worker, seconds to keep. The worker has stopped, as it was asked to.
-- Returns 1, or 0 when the lease is lost or nobody asked.
local id, token, worker = ARGV[1], ARGV[2], ARGV[3]
local job = read(id, 'state', 'token', 'worker', 'cancel')
if holds(job, token, worker) and job.cancel then
  let_go(id, worker)
  finish(id, 'cancelled', now(), ARGV[4], 'cancelled')
  return 1
end
return job.state == 'cancelled' and job.token == token and 1 or 0
