-- ARGV: id, token, worker, result, seconds to keep it. Returns 1, or 0 when the lease is lost.
local id, token, worker = ARGV[1], ARGV[2], ARGV[3]
local job = read_fields(id, 'state', 'token', 'worker')
if not holds_lease(job, token, worker) then
  return (job.state == 'done' and job.token == token) and 1 or 0
end
end_claim(id, worker)
finish(id, 'done', now(), ARGV[5], 'completed', 'result', ARGV[4])
return 1
