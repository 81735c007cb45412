-- ARGV, twelve a job: id, role, list, payload, priority, topic, idempotency key, delay, seconds to keep the result,
-- JSON list of the jobs to wait for, 1 when it does not wait for the others once one of them failed, and the device
-- that it asks for: such jobs wait in a list of their own.
-- Returns for each the time of a new job, or {id, fields} of the one that was there.
local at, answers = now(), {}
for first = 1, #ARGV, 12 do
  local id, role, list, payload, priority, topic, idempotency, delay, keep, after, impatient, wish =
    unpack(ARGV, first, first + 11)
  local known = idempotency ~= '' and redis.call('GET', p .. 'idem:' .. idempotency) or id
  if redis.call('EXISTS', job_key(known)) == 0 then known = id end
  if redis.call('EXISTS', job_key(known)) == 1 then
    answers[#answers + 1] = { known, redis.call('HGETALL', job_key(known)) }
  else
    local waits_in = wish == '' and list or list .. '@' .. wish
    redis.call('HSET', job_key(id), 'role', role, 'list', waits_in, 'payload', payload, 'priority', priority,
      'state', 'waiting', 'created_at', stamp(at))
    if wish ~= '' then
      redis.call('HSET', job_key(id), 'device', wish)
      redis.call('SADD', p .. 'wishes:' .. list, wish)
    end
    if topic ~= '' then redis.call('HSET', job_key(id), 'topic', topic) end
    if keep ~= '' then redis.call('HSET', job_key(id), 'keep', keep) end
    if idempotency ~= '' then redis.call('SET', p .. 'idem:' .. idempotency, id, 'EX', 86400) end
    list_job(id, at)
    count('submitted')
    if after ~= '' and follow(id, cjson.decode(after)) > 0 then
      redis.call('HSET', job_key(id), 'state', 'delayed')
      if impatient == '1' then redis.call('HSET', job_key(id), 'impatient', '1') end
    elseif tonumber(delay) > 0 then
      redis.call('HSET', job_key(id), 'state', 'delayed')
      redis.call('ZADD', p .. 'delayed', stamp(at + delay), id)
    else
      place(waits_in, id, tonumber(priority))
    end
    answers[#answers + 1] = stamp(at)
  end
end
return answers
