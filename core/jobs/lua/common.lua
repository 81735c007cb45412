-- Functions that the scripts share, before `waiting_lists` and `transitions`. KEYS[1] is the prefix of every key; times are seconds by the server's clock.
--
-- When memory is full the server rejects the first write of a script that needs more of it, and lets a script
-- go on that has already written. So a script that adds jobs (enqueue) writes first and is rejected as a whole;
-- one that ends a job frees something first and always succeeds.
local p = KEYS[1]

-- In a cluster, a slot that is being moved has its keys on two nodes: nothing may begin then. Two keys that do not exist
-- are an error exactly as long as that lasts.
if string.find(p, '{', 1, true) then
  local moving = redis.pcall('EXISTS', p .. '-', p .. '--')
  if type(moving) == 'table' and moving.err then
    return redis.error_reply('TRYAGAIN The keys are being moved to another node.')
  end
end

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

-- Return the named fields of a job; false where there is none.
local function read_fields(id, ...)
  local values, job = redis.call('HMGET', job_key(id), ...), {}
  for index, name in ipairs({ ... }) do job[name] = values[index] end
  return job
end

local function holds_lease(job, token, worker)
  return job.state == 'processing' and job.token == token and job.worker == worker
end

local function increment(counter)
  redis.call('HINCRBY', p .. 'counters', counter, 1)
end
