-- Functions that the scripts share: what happens to a job besides waiting.

-- Add an event to the history of a job or a topic, and announce it. `data` is JSON.
-- What speaks a part of a stream has no history: its end is in the stream, and nobody reads more of it later.
local function publish(id, kind, data, seconds)
  local key = p .. 'events:' .. id
  if redis.call('HEXISTS', job_key(id), 'stream') == 1 then
    redis.call('PUBLISH', key, '{"id":"0-0","kind":"' .. kind .. '","data":' .. data .. '}')
    return '0-0'
  end
  local entry = redis.call('XADD', key, 'MAXLEN', '~', 1000, '*', 'kind', kind, 'data', data)
  redis.call('EXPIRE', key, seconds)
  redis.call('PUBLISH', key, '{"id":"' .. entry .. '","kind":"' .. kind .. '","data":' .. data .. '}')
  return entry
end

-- Return the workers of a process: the one of its id, and its other slots, whose ids go on with a slash and a number.
local function workers_of_process(process)
  local ids, prefix = { process }, process .. '/'
  for _, worker in ipairs(redis.call('ZRANGE', p .. 'workers', 0, -1)) do
    if string.sub(worker, 1, #prefix) == prefix then ids[#ids + 1] = worker end
  end
  return ids
end

-- The audio of a job that speaks a part of a stream: chunks, then how the job ended, with its result or error.
local STREAM_SECONDS = 60

local function stream_key(id) return p .. 'audio:' .. id end

local function end_stream(id, state)
  local job = read_fields(id, 'stream', 'result', 'error')
  if not job.stream then return end
  local data = state == 'done' and job.result or state ~= 'done' and job.error or '{}'
  redis.call('XADD', stream_key(id), '*', 'end', state, 'data', data)
  redis.call('EXPIRE', stream_key(id), STREAM_SECONDS)
end

-- Add a failure or a rescue to the history of the job.
local function add_to_failure_history(id, at, worker, code, message)
  local history = redis.call('HGET', job_key(id), 'history')
  local entry = '{"at":' .. stamp(at) .. ',"worker":' .. quote(worker)
    .. ',"code":' .. quote(code) .. ',"message":' .. quote(message) .. '}'
  redis.call('HSET', job_key(id), 'history', (history and string.sub(history, 1, -2) .. ',' or '[') .. entry .. ']')
end

-- Count an ended job down in its dependents. One starts when this was its last dependency, or when this one was not
-- done and the dependent starts on the failure of a dependency (field `impatient`).
local function notify_dependents(id, state)
  for _, dependent in ipairs(redis.call('SMEMBERS', p .. 'followers:' .. id)) do
    local job = read_fields(dependent, 'state', 'awaits', 'impatient')
    if job.state == 'delayed' and tonumber(job.awaits or 0) > 0 then
      local left = job.impatient and state ~= 'done' and 0 or tonumber(job.awaits) - 1
      redis.call('HSET', job_key(dependent), 'awaits', left)
      if left == 0 then wait_last(dependent) end
    end
  end
  redis.call('DEL', p .. 'followers:' .. id)
end

-- Let a job wait for others that have not ended; return how many are new. A dependency counts once.
local function add_dependencies(id, others)
  local more = 0
  for _, other in ipairs(others) do
    local state = redis.call('HGET', job_key(other), 'state')
    if state and state ~= 'done' and state ~= 'dead' and state ~= 'cancelled' then
      more = more + redis.call('SADD', p .. 'followers:' .. other, id)
    end
  end
  if more > 0 then redis.call('HINCRBY', job_key(id), 'awaits', more) end
  return more
end

-- Return the part of an id that names the kind of job; nothing for a part of another job (`speech-x.0`).
local function kind_of(id)
  return string.match(id, '^(%a+)%-[^.]*$')
end

-- Add a job to the indexes of all jobs and of its kind, by the time that it came; it stays until it is forgotten.
local function add_to_index(id, at)
  redis.call('ZADD', p .. 'jobs', stamp(at), id)
  local kind = kind_of(id)
  if kind then redis.call('ZADD', p .. 'jobs:' .. kind, stamp(at), id) end
end

local function remove_expired_from_index(at)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'forgotten', '-inf', stamp(at), 'LIMIT', 0, 20)) do
    redis.call('ZREM', p .. 'forgotten', id)
    redis.call('ZREM', p .. 'jobs', id)
    local kind = kind_of(id)
    if kind then redis.call('ZREM', p .. 'jobs:' .. kind, id) end
  end
end

-- Take a job from its worker. This frees memory, so it comes before any other write.
local function end_claim(id, worker)
  redis.call('ZREM', p .. 'leases', id)
  redis.call('LREM', p .. 'processing:' .. worker, 1, id)
end

-- A job that ended no longer counts towards the quota of its owner.
local function remove_from_quota(id)
  local owner = redis.call('HGET', job_key(id), 'owner')
  if owner then redis.call('SREM', p .. 'unfinished:' .. owner, id) end
end

-- The parts of a job are forgotten soon after it is done or cancelled; of a dead one they stay for a replay.
local PART_SECONDS, PART_EVENTS_SECONDS = 300, 60

local function forget_parts(id, at)
  local parts = redis.call('SMEMBERS', p .. 'parts:' .. id)
  for _, part in ipairs(parts) do
    local state = redis.call('HGET', job_key(part), 'state')
    if state == 'done' or state == 'cancelled' then
      redis.call('EXPIRE', job_key(part), PART_SECONDS)
      redis.call('ZADD', p .. 'forgotten', stamp(at + PART_SECONDS), part)
    end
  end
  if #parts > 0 then redis.call('DEL', p .. 'parts:' .. id) end
end

-- End a job as done or cancelled; it is forgotten after its time.
local function finish(id, state, at, keep, kind, ...)
  local job = read_fields(id, 'keep', 'part_of')
  local seconds = math.max(1, math.ceil(tonumber(job.keep or keep)))
  local whole = job.part_of and redis.call('HGET', job_key(job.part_of), 'state')
  if job.part_of and (not whole or whole == 'done' or whole == 'cancelled') then seconds = PART_SECONDS end
  remove_from_quota(id)
  redis.call('HSET', job_key(id), 'state', state, 'finished_at', stamp(at), ...)
  redis.call('EXPIRE', job_key(id), seconds)
  redis.call('ZADD', p .. 'forgotten', stamp(at + seconds), id)
  increment(state)
  end_stream(id, state)
  publish(id, kind, '{"job_id":' .. quote(id) .. '}', job.part_of and PART_EVENTS_SECONDS or seconds)
  notify_dependents(id, state)
  forget_parts(id, at)
  remove_expired_from_index(at)
end

-- End a job that is out of attempts: it stays, and a dead letter says why.
local function move_to_dead_letters(id, at, error, seconds)
  remove_from_quota(id)
  redis.call('HSET', job_key(id), 'state', 'dead', 'finished_at', stamp(at), 'error', error)
  local job = read_fields(id, 'role', 'payload', 'attempts', 'rescues', 'history', 'owner')
  redis.call('LPUSH', p .. 'dead_letter_queue', '{"job_id":' .. quote(id)
    .. ',"role":' .. quote(job.role)
    .. ',"attempts":' .. (job.attempts or 0) .. ',"rescues":' .. (job.rescues or 0)
    .. ',"died_at":' .. stamp(at) .. ',"error":' .. error
    .. ',"payload":' .. job.payload .. ',"history":' .. (job.history or '[]')
    .. (job.owner and ',"owner":' .. quote(job.owner) or '') .. '}')
  increment('dead')
  redis.call('EXPIRE', p .. 'parts:' .. id, seconds)
  end_stream(id, 'dead')
  publish(id, 'failed', '{"job_id":' .. quote(id) .. ',"error":' .. error .. '}', seconds)
  notify_dependents(id, 'dead')
end

-- End a job by a mistake of its caller: no dead letter, and it is forgotten after its time like one that is done.
local function finish_with_callers_error(id, at, error, keep)
  local seconds = math.max(1, math.ceil(tonumber(redis.call('HGET', job_key(id), 'keep') or keep)))
  remove_from_quota(id)
  redis.call('HSET', job_key(id), 'state', 'dead', 'finished_at', stamp(at), 'error', error)
  redis.call('EXPIRE', job_key(id), seconds)
  redis.call('ZADD', p .. 'forgotten', stamp(at + seconds), id)
  increment('rejected')
  redis.call('EXPIRE', p .. 'parts:' .. id, seconds)
  end_stream(id, 'dead')
  publish(id, 'failed', '{"job_id":' .. quote(id) .. ',"error":' .. error .. '}', seconds)
  notify_dependents(id, 'dead')
  remove_expired_from_index(at)
end

local POISON_RESCUES, POISON_SECONDS = 3, 72 * 3600

-- Requeue the job of a worker that died or vanished: at the front, or as a dead letter when that happened too often.
-- An id that was popped and never claimed did not run; it goes back and nothing is counted.
-- Return {id, role, state, topic}, or nothing when this worker does not have the job.
local function rescue(id, worker, at, keep)
  local job = read_fields(id, 'state', 'worker', 'role', 'topic', 'cancel', 'rescued_at')
  local reply = { id, job.role or '', 'waiting', job.topic or '' }
  if job.state == 'waiting' then
    redis.call('LREM', p .. 'processing:' .. worker, 1, id)
    wait_first(id)
    return reply
  end
  if not (job.state == 'processing' and job.worker == worker) then
    redis.call('LREM', p .. 'processing:' .. worker, 0, id)
    return nil
  end
  end_claim(id, worker)
  if job.cancel then
    finish(id, 'cancelled', at, keep, 'cancelled')
    reply[3] = 'cancelled'
    return reply
  end
  increment('rescued')
  redis.call('HINCRBY', job_key(id), 'rescues', 1)
  add_to_failure_history(id, at, worker, 'rescued', 'The worker died or did not renew its lease.')
  local recent = { stamp(at) }
  for time in string.gmatch(job.rescued_at or '', '%S+') do
    if at - tonumber(time) < POISON_SECONDS then recent[#recent + 1] = time end
  end
  redis.call('HSET', job_key(id), 'rescued_at', table.concat(recent, ' '), 'worker', '')
  redis.call('SET', p .. 'rescued:' .. worker, recent[1] .. ' ' .. id, 'EX', 86400)
  if #recent >= POISON_RESCUES then
    local message = #recent .. ' workers died or vanished with this job.'
    move_to_dead_letters(id, at, '{"code":"poison","message":"' .. message .. '",'
      .. '"hint":"See the log of the last one, ' .. string.sub(quote(worker), 2, -2)
      .. '; a replay of the dead letter tries it again."}', keep)
    reply[3] = 'dead'
  else
    wait_first(id)
  end
  return reply
end

-- Uncount the latest rescue from a worker that did not die; with an id, only if it was of that job.
-- Return whether there was one.
local function uncount_rescue(worker, only)
  local key = p .. 'rescued:' .. worker
  local at, id = string.match(redis.call('GET', key) or '', '^(%S+) (.+)$')
  if not id or only and only ~= id then return false end
  redis.call('DEL', key)
  local job, recent = read_fields(id, 'rescued_at', 'rescues'), {}
  if not job.rescues then return false end
  for time in string.gmatch(job.rescued_at or '', '%S+') do
    if time ~= at then recent[#recent + 1] = time end
  end
  redis.call('HSET', job_key(id), 'rescued_at', table.concat(recent, ' '), 'rescues', math.max(0, job.rescues - 1))
  return true
end
