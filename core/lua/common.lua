-- What the transitions share. KEYS[1] is the prefix of every key; times are seconds by the server's clock.
--
-- When memory is full the server refuses the first write of a script that needs more of it, and lets a script
-- go on that has already written. So what takes new work in (enqueue) writes first and is refused as a whole;
-- what ends work in hand frees something first and always gets through.
local p = KEYS[1]

local function now()
  local t = redis.call('TIME')
  return t[1] + t[2] / 1000000
end

local function stamp(seconds)
  return string.format('%.6f', seconds)
end

local function quote(text)
  return (string.gsub(cjson.encode(text), '\\/', '/'))
end

local function job_key(id)
  return p .. 'job:' .. id
end

-- The named fields of a job; false where there is none.
local function read(id, ...)
  local values, job = redis.call('HMGET', job_key(id), ...), {}
  for index, name in ipairs({ ... }) do job[name] = values[index] end
  return job
end

local function holds(job, token, worker)
  return job.state == 'processing' and job.token == token and job.worker == worker
end

local function count(what)
  redis.call('HINCRBY', p .. 'counters', what, 1)
end

local function priority_of(id)
  return tonumber(redis.call('HGET', job_key(id), 'priority')) or 5
end

-- Put a job left of all that have at least this priority. The right end of a list is next.
local function place(list, id, priority)
  local key = p .. list
  local left = redis.call('LINDEX', key, 0)
  if not left or priority_of(left) >= priority then return redis.call('LPUSH', key, id) end
  if priority_of(redis.call('LINDEX', key, -1)) < priority then return redis.call('RPUSH', key, id) end
  local low, high = 1, redis.call('LLEN', key) - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if priority_of(redis.call('LINDEX', key, middle)) >= priority then high = middle else low = middle + 1 end
  end
  return redis.call('LINSERT', key, 'BEFORE', redis.call('LINDEX', key, low), id)
end

-- Behind everything of its priority.
local function wait_last(id)
  local job = read(id, 'list', 'priority')
  redis.call('HSET', job_key(id), 'state', 'waiting')
  place(job.list, id, tonumber(job.priority))
end

-- Before everything of its priority: it has had its turn already.
local function wait_first(id)
  local job = read(id, 'list', 'priority')
  redis.call('HSET', job_key(id), 'state', 'waiting')
  place(job.list, id, tonumber(job.priority) + 1)
end

-- Add to the history of a job or a topic, and tell whoever watches. `data` is JSON.
local function tell(id, kind, data, seconds)
  local key = p .. 'events:' .. id
  local entry = redis.call('XADD', key, 'MAXLEN', '~', 1000, '*', 'kind', kind, 'data', data)
  redis.call('EXPIRE', key, seconds)
  redis.call('PUBLISH', key, '{"id":"' .. entry .. '","kind":"' .. kind .. '","data":' .. data .. '}')
  return entry
end

-- Remember a failure or a rescue with the job.
local function note(id, at, worker, code, message)
  local known = redis.call('HGET', job_key(id), 'history')
  local entry = '{"at":' .. stamp(at) .. ',"worker":' .. quote(worker)
    .. ',"code":' .. quote(code) .. ',"message":' .. quote(message) .. '}'
  redis.call('HSET', job_key(id), 'history', (known and string.sub(known, 1, -2) .. ',' or '[') .. entry .. ']')
end

-- The worker has the job no longer. It frees, so it comes before any other write.
local function let_go(id, worker)
  redis.call('ZREM', p .. 'leases', id)
  redis.call('LREM', p .. 'processing:' .. worker, 1, id)
end

-- The job's end, done or cancelled; it is forgotten after its time.
local function finish(id, state, at, keep, kind, ...)
  local seconds = math.max(1, math.ceil(tonumber(redis.call('HGET', job_key(id), 'keep') or keep)))
  redis.call('HSET', job_key(id), 'state', state, 'finished_at', stamp(at), ...)
  redis.call('EXPIRE', job_key(id), seconds)
  count(state)
  tell(id, kind, '{"job_id":' .. quote(id) .. '}', seconds)
end

-- The job is out of attempts: it stays, and a readable letter says why.
local function bury(id, at, error, seconds)
  redis.call('HSET', job_key(id), 'state', 'dead', 'finished_at', stamp(at), 'error', error)
  local job = read(id, 'role', 'payload', 'attempts', 'rescues', 'history')
  redis.call('LPUSH', p .. 'dead_letter_queue', '{"job_id":' .. quote(id)
    .. ',"role":' .. quote(job.role)
    .. ',"attempts":' .. (job.attempts or 0) .. ',"rescues":' .. (job.rescues or 0)
    .. ',"died_at":' .. stamp(at) .. ',"error":' .. error
    .. ',"payload":' .. job.payload .. ',"history":' .. (job.history or '[]') .. '}')
  count('dead')
  tell(id, 'failed', '{"job_id":' .. quote(id) .. ',"error":' .. error .. '}', seconds)
end

local POISON_RESCUES, POISON_SECONDS = 3, 72 * 3600

-- A worker died or vanished with the job: back to the front, or to the dead letters when that happens too often.
-- An id that was taken and never claimed did not run; it goes back and nothing is counted.
-- Returns {id, role, state, topic}, or nothing when this worker does not have the job.
local function rescue(id, worker, at, keep)
  local job = read(id, 'state', 'worker', 'role', 'topic', 'cancel', 'rescued_at')
  local answer = { id, job.role or '', 'waiting', job.topic or '' }
  if job.state == 'waiting' then
    redis.call('LREM', p .. 'processing:' .. worker, 1, id)
    wait_first(id)
    return answer
  end
  if not (job.state == 'processing' and job.worker == worker) then
    redis.call('LREM', p .. 'processing:' .. worker, 0, id)
    return nil
  end
  let_go(id, worker)
  if job.cancel then
    finish(id, 'cancelled', at, keep, 'cancelled')
    answer[3] = 'cancelled'
    return answer
  end
  count('rescued')
  redis.call('HINCRBY', job_key(id), 'rescues', 1)
  note(id, at, worker, 'rescued', 'The worker died or did not renew its lease.')
  local recent = { stamp(at) }
  for time in string.gmatch(job.rescued_at or '', '%S+') do
    if at - tonumber(time) < POISON_SECONDS then recent[#recent + 1] = time end
  end
  redis.call('HSET', job_key(id), 'rescued_at', table.concat(recent, ' '), 'worker', '')
  if #recent >= POISON_RESCUES then
    bury(id, at, '{"code":"poison","message":"' .. #recent .. ' workers died or vanished with this job.",'
      .. '"hint":"See the log of the last one, ' .. string.sub(quote(worker), 2, -2)
      .. '; a replay of the dead letter tries it again."}', keep)
    answer[3] = 'dead'
  else
    wait_first(id)
  end
  return answer
end
