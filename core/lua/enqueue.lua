-- ARGV, nine a job: id, role, list, payload, priority, topic, idempotency key, delay, seconds to keep the result.
-- Returns for each the time of a new job, or {id, fields} of the one that was there.
local at, answers = now(), {}
for first = 1, #ARGV, 9 do
  local id, role, list, payload, priority, topic, idempotency, delay, keep = unpack(ARGV, first, first + 8)
  local known = idempotency ~= '' and redis.call('GET', p .. 'idem:' .. idempotency) or id
  if redis.call('EXISTS', job_key(known)) == 0 then known = id end
  if redis.call('EXISTS', job_key(known)) == 1 then
    answers[#answers + 1] = { known, redis.call('HGETALL', job_key(known)) }
  else
    redis.call('HSET', job_key(id), 'role', role, 'list', list, 'payload', payload, 'priority', priority,
      'state', 'waiting', 'created_at', stamp(at))
    if topic ~= '' then redis.call('HSET', job_key(id), 'topic', topic) end
    if keep ~= '' then redis.call('HSET', job_key(id), 'keep', keep) end
    if idempotency ~= '' then redis.call('SET', p .. 'idem:' .. idempotency, id, 'EX', 86400) end
    count('submitted')
    if tonumber(delay) > 0 then
      redis.call('HSET', job_key(id), 'state', 'delayed')
      redis.call('ZADD', p .. 'delayed', stamp(at + delay), id)
    else
      place(list, id, tonumber(priority))
    end
    answers[#answers + 1] = stamp(at)
  end
end
return answers
