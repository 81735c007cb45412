-- ARGV: 1 when an API key enqueues them, which has quotas; its most unfinished jobs and characters a day, or nothing. Then,
-- nineteen a job: id, role, list, payload, priority, topic, idempotency key, delay, seconds to keep the result,
-- JSON list of its dependencies, 1 when it starts on the failure of a dependency, and its device constraint: jobs with
-- a constraint wait in a list of their own; its owner and the request that created it, or nothing; characters that
-- count towards the quota; then, or nothing: which part of a stream of audio it speaks, the process that listens to it,
-- what a worker should have loaded for it, and the job whose part it is.
-- Returns nothing but `jobs N` or `characters N seconds` when a quota would be exceeded; nothing is added then. Else it
-- returns for each the time of a new job, or {id, fields} of the one that was there.
local at, replies = now(), {}

local function find_existing(id, idempotency)
  local existing = idempotency ~= '' and redis.call('GET', p .. 'idem:' .. idempotency)
  if existing and redis.call('EXISTS', job_key(existing)) == 1 then return existing end
  return redis.call('EXISTS', job_key(id)) == 1 and id
end

if ARGV[1] == '1' then
  local jobs, characters, owner = 0, 0, nil
  for first = 4, #ARGV, 19 do
    if not find_existing(ARGV[first], ARGV[first + 6]) then
      jobs, characters, owner = jobs + 1, characters + tonumber(ARGV[first + 14]), ARGV[first + 12]
    end
  end
  if jobs > 0 and ARGV[2] ~= '' then
    local unfinished = redis.call('SCARD', p .. 'unfinished:' .. owner)
    if unfinished + jobs > tonumber(ARGV[2]) then return 'jobs ' .. unfinished end
  end
  if characters > 0 then
    local key = p .. 'characters:' .. math.floor(at / 86400) .. ':' .. owner
    local used = tonumber(redis.call('GET', key) or 0)
    if ARGV[3] ~= '' and used + characters > tonumber(ARGV[3]) then
      return 'characters ' .. used .. ' ' .. 86400 - math.floor(at % 86400)
    end
    redis.call('INCRBY', key, characters)
    redis.call('EXPIRE', key, 172800)
  end
end
for first = 4, #ARGV, 19 do
  local id, role, list, payload, priority, topic, idempotency, delay, keep, dependencies, start_on_failure, constraint,
    owner, request, _, stream, listener, affinity, part_of = unpack(ARGV, first, first + 18)
  local existing = find_existing(id, idempotency)
  if existing then
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
    if owner ~= '' and ARGV[1] == '1' then redis.call('SADD', p .. 'unfinished:' .. owner, id) end
    if topic ~= '' then redis.call('HSET', job_key(id), 'topic', topic) end
    if stream ~= '' then redis.call('HSET', job_key(id), 'stream', stream, 'listener', listener) end
    if affinity ~= '' then redis.call('HSET', job_key(id), 'affinity', affinity) end
    if keep ~= '' then redis.call('HSET', job_key(id), 'keep', keep) end
    if part_of ~= '' then
      redis.call('HSET', job_key(id), 'part_of', part_of)
      redis.call('SADD', p .. 'parts:' .. part_of, id)
    end
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
      add_to_list(waits_in, id, false)
    end
    replies[#replies + 1] = stamp(at)
  end
end
return replies
