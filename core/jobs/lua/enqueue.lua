-- ARGV, fourteen a job: id, role, list, payload, priority, topic, idempotency key, delay, seconds to keep the result,
-- JSON list of its dependencies, 1 when it starts on the failure of a dependency, its device constraint (jobs with one
-- wait in a list of their own), its owner, and the request that created it.
-- Returns for each the time of a new job, or {id, fields} of the one that was there.
local at, replies = now(), {}
for first = 1, #ARGV, 14 do
  local id, role, list, payload, priority, topic, idempotency, delay, keep, dependencies, start_on_failure, constraint,
    owner, request = unpack(ARGV, first, first + 13)
  local existing = idempotency ~= '' and redis.call('GET', p .. 'idem:' .. idempotency) or id
  if redis.call('EXISTS', job_key(existing)) == 0 then existing = id end
  if redis.call('EXISTS', job_key(existing)) == 1 then
    replies[#replies + 1] = { existing, redis.call('HGETALL', job_key(existing)) }
  else
    local waits_in = constraint == '' and list or list .. '@' .. constraint
    redis.call('HSET', job_key(id), 'role', role, 'list', waits_in, 'payload', payload, 'priority', priority,
      'state', 'waiting', 'created_at', stamp(at))
    if constraint ~= '' then
      redis.call('HSET', job_key(id), 'device', constraint)
      redis.call('SADD', p .. 'wishes:' .. list, constraint)
    end
    if owner ~= '' then redis.call('HSET', job_key(id), 'owner', owner) end
    if request ~= '' then redis.call('HSET', job_key(id), 'request', request) end
    if topic ~= '' then redis.call('HSET', job_key(id), 'topic', topic) end
    if keep ~= '' then redis.call('HSET', job_key(id), 'keep', keep) end
    if idempotency ~= '' then redis.call('SET', p .. 'idem:' .. idempotency, id, 'EX', 86400) end
    add_to_index(id, at)
    increment('submitted')
    if dependencies ~= '' and add_dependencies(id, cjson.decode(dependencies)) > 0 then
      redis.call('HSET', job_key(id), 'state', 'delayed')
      if start_on_failure == '1' then redis.call('HSET', job_key(id), 'impatient', '1') end
    elseif tonumber(delay) > 0 then
      redis.call('HSET', job_key(id), 'state', 'delayed')
      redis.call('ZADD', p .. 'delayed', stamp(at + delay), id)
    else
      insert(waits_in, id, tonumber(priority))
    end
    replies[#replies + 1] = stamp(at)
  end
end
return replies
