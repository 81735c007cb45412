-- ARGV: id, token, worker, error, its code, its message, permanent (1 or 0), attempts, first delay, jitter (0.5–1),
-- seconds to keep the job, 1 when the mistake is the caller's: that ends the job without a dead letter.
-- Returns the new state, or lost.
local id, token, worker, error, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4], now()
local job = read_fields(id, 'state', 'token', 'worker', 'cancel', 'ended')
if not holds_lease(job, token, worker) then
  if job.ended ~= 'failed ' .. token then return 'lost' end
  return job.state == 'waiting' and 'delayed' or job.state
end
end_claim(id, worker)
increment('failed')
local attempts = redis.call('HINCRBY', job_key(id), 'attempts', 1)
redis.call('HSET', job_key(id), 'error', error, 'ended', 'failed ' .. token, 'worker', '')
add_to_failure_history(id, at, worker, ARGV[5], ARGV[6])
if job.cancel then
  finish(id, 'cancelled', at, ARGV[11], 'cancelled')
  return 'cancelled'
end
if ARGV[12] == '1' then
  finish_with_callers_error(id, at, error, ARGV[11])
  return 'dead'
end
if ARGV[7] == '1' or attempts >= tonumber(ARGV[8]) then
  move_to_dead_letters(id, at, error, ARGV[11])
  return 'dead'
end
local delay = math.min(900, ARGV[9] * 3 ^ (attempts - 1)) * ARGV[10]
redis.call('HSET', job_key(id), 'state', 'delayed')
redis.call('ZADD', p .. 'delayed', stamp(at + delay), id)
return 'delayed'
