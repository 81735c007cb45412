-- ARGV: maximum number of jobs. Let delayed jobs that are due wait again. Returns how many.
local due = redis.call('ZRANGEBYSCORE', p .. 'delayed', '-inf', stamp(now()), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(due) do
  redis.call('ZREM', p .. 'delayed', id)
  if redis.call('HGET', job_key(id), 'state') == 'delayed' then wait_last(id) end
end
return #due
