-- ARGV: worker, list, lease seconds, seconds to keep a cancelled job; then of a worker that names its location: device,
-- kind of jobs, host, jobs of that kind that the device runs at once unless `limits` says otherwise; 1 for a worker that
-- drains: it takes only what continues a stream of audio.
-- Returns {id, end of the lease, fields}, full when the device has no room, later when another process should have the
-- next job, or nothing.
--
-- Every job of the kind `training` counts towards the limit. Of `inference`, those with a device constraint do, which
-- `any` is, too: speech that somebody waits for is limited by the number of workers. A training that is constrained to
-- several GPUs uses them all at once and counts towards the limit of each. The field `slot` of a job names the limits that
-- its latest claim counts towards, with spaces between them.
--
-- A worker holds one job at a time. An id in its own list comes first: a blocking pop moved it there, or the reply to
-- its last claim was lost.
local worker, list, at = ARGV[1], ARGV[2], now()
local device, kind = ARGV[5] or '', ARGV[6] or ''
local draining = ARGV[9] == '1'
local process = string.match(worker, '^(.*)/%d+$') or worker
local own = p .. 'processing:' .. worker
local only_constrained = kind == 'inference'
local slot = kind ~= '' and kind .. ':' .. ARGV[7] .. '/' .. device

local function limit(device)
  local limits = redis.call('HMGET', p .. 'limits', kind .. ' ' .. device, kind .. ' ' .. string.match(device, '^%a+'))
  return tonumber(limits[1] or limits[2] or ARGV[8])
end

-- Count the other workers of a device that run a job of the kind. Each is checked, so that a dead one frees its place.
local function at_work(slot)
  local others = 0
  for _, other in ipairs(redis.call('SMEMBERS', p .. 'slot:' .. slot)) do
    local held = redis.call('LINDEX', p .. 'processing:' .. other, -1)
    local job = held and read_fields(held, 'state', 'worker', 'slot')
    if not (job and job.state == 'processing' and job.worker == other
      and string.find(' ' .. (job.slot or '') .. ' ', ' ' .. slot .. ' ', 1, true)) then
      redis.call('SREM', p .. 'slot:' .. slot, other)
    elseif other ~= worker then
      others = others + 1
    end
  end
  return others
end

-- Return whether the device may run one more.
local others
local function room()
  if not slot then return true end
  others = others or at_work(slot)
  return others < limit(device)
end

-- Return the slots that a job takes, and whether there is room for one more in each.
local function find_slots(job)
  local slots, free = { slot }, room()
  if kind == 'training' and string.find(job.device or '', '^cuda:%d+%-') then
    for number in string.gmatch(job.device, '%d+') do
      local other = kind .. ':' .. ARGV[7] .. '/cuda:' .. number
      if other ~= slot then
        slots[#slots + 1] = other
        free = free and at_work(other) < limit('cuda:' .. number)
      end
    end
  end
  return slots, free
end

-- Return whether a job with a device constraint (`cuda`, `cuda:1`, `cuda:0-2`) may run on this device.
local function meets_constraint(device, constraint)
  if constraint == device or constraint == 'any' then return true end
  local number = string.match(device, '^cuda:(%d+)$')
  if not number then return false end
  return constraint == 'cuda' or string.find(constraint .. '-', '[:%-]' .. number .. '%-') ~= nil
end

-- Pop the next job of those whose constraint this device meets and those without one. Where it is the turn of the same
-- owner in several lists, a constraint goes first.
local function pop()
  local lists, best, lowest = {}, list, nil
  for _, constraint in ipairs(device ~= '' and redis.call('SMEMBERS', p .. 'wishes:' .. list) or {}) do
    if meets_constraint(device, constraint) and (not only_constrained or room()) then
      lists[#lists + 1] = list .. '@' .. constraint
    end
  end
  lists[#lists + 1] = list
  for _, candidate in ipairs(lists) do settle(candidate) end
  if #lists > 1 then
    for _, candidate in ipairs(lists) do
      local score = tonumber(redis.call('ZRANGE', turns_key(candidate), 0, 0, 'WITHSCORES')[2])
      if score and (not lowest or score < lowest) then best, lowest = candidate, score end
    end
  end
  return pop_from_list(best)
end

-- Take the next job that continues a stream.
local SEARCHED = 100
local function pop_continuation()
  settle(list)
  for _, id in ipairs(next_jobs(list, SEARCHED)) do
    if redis.call('HGET', job_key(id), 'stream') == 'continuation' then
      remove_from_list(list, id)
      return id
    end
  end
end

-- Return whether another process has what a new job prefers and an idle worker; a job that waited longer goes anywhere.
local PREFERENCE_SECONDS, HOLDER_SECONDS = 0.05, 3
local function better_with_holder(job)
  if not job.affinity or at - tonumber(job.created_at) > PREFERENCE_SECONDS then return false end
  local holders = p .. 'holders:' .. job.affinity
  if redis.call('SISMEMBER', holders, process) == 1 then return false end
  for _, holder in ipairs(redis.call('SMEMBERS', holders)) do
    local heartbeat = tonumber(redis.call('ZSCORE', p .. 'workers', holder) or 0)
    if at - heartbeat > HOLDER_SECONDS then
      redis.call('SREM', holders, holder)
    else
      for number = 0, tonumber(redis.call('HGET', p .. 'worker:' .. holder, 'slots') or 1) - 1 do
        local other = number == 0 and holder or holder .. '/' .. number
        if redis.call('LLEN', p .. 'processing:' .. other) == 0 then return true end
      end
    end
  end
  return false
end

-- Put off a job whose listener is gone; one that was put off before is cancelled. A listener that was only cut off from
-- Redis is back by then.
local UNHEARD_SECONDS = 3
local function put_off_unheard(id, job)
  if not job.listener or job.listener == '' then return false end
  if redis.call('EXISTS', p .. 'listener:' .. job.listener) == 1 then
    if job.unheard then redis.call('HDEL', job_key(id), 'unheard') end
    return false
  end
  redis.call('LREM', own, 0, id)
  if job.unheard then
    finish(id, 'cancelled', at, ARGV[4], 'cancelled')
  else
    redis.call('HSET', job_key(id), 'unheard', '1', 'state', 'delayed')
    redis.call('ZADD', p .. 'delayed', stamp(at + UNHEARD_SECONDS), id)
  end
  return true
end

-- Return whether a new training should wait for an idle worker whose GPU trains less; one that waited longer does not.
local FRESH_SECONDS, ALIVE_SECONDS = 2, 3
local function better_elsewhere(id)
  if kind ~= 'training' or others == 0 or not string.find(device, '^cuda') then return false end
  local job = read_fields(id, 'role', 'device', 'created_at')
  if at - tonumber(job.created_at) > FRESH_SECONDS then return false end
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', p .. 'workers', stamp(at - ALIVE_SECONDS), '+inf')) do
    local its = redis.call('HMGET', p .. 'worker:' .. other, 'role', 'device', 'host')
    local idle = other ~= worker and its[1] == job.role and redis.call('LLEN', p .. 'processing:' .. other) == 0
    if idle and string.find(its[2], '^cuda') and (not job.device or meets_constraint(its[2], job.device))
      and at_work(kind .. ':' .. its[3] .. '/' .. its[2]) < others then return true end
  end
  return false
end

local id = redis.call('LINDEX', own, -1)
while true do
  if not id then
    if draining then id = pop_continuation() else id = (only_constrained or room()) and pop() end
    if not id then
      redis.call('ZADD', p .. 'workers', stamp(at), worker)
      return not only_constrained and not room() and 'full'
    end
    redis.call('LPUSH', own, id)
  end
  local job = read_fields(id, 'state', 'worker', 'cancel', 'list', 'device', 'created_at', 'stream', 'listener',
    'unheard', 'affinity', 'slot')
  if job.state == 'waiting' then settle(job.list) end
  local lost = job.state == 'processing' and job.worker == worker
  local limited = slot and (not only_constrained or job.device)
  local slots, free = {}, true
  if limited then slots, free = find_slots(job) end
  if lost and job.cancel then
    end_claim(id, worker)
    finish(id, 'cancelled', at, ARGV[4], 'cancelled')
  elseif not lost and job.state == 'waiting' and put_off_unheard(id, job) then
    id = nil
  elseif lost or job.state == 'waiting' and free and not better_elsewhere(id)
    and not (draining and job.stream ~= 'continuation') and (draining or not better_with_holder(job)) then
    local ends = stamp(at + ARGV[3])
    redis.call('ZREM', p .. 'leases', id)
    redis.call('ZADD', p .. 'leases', ends, id)
    if limited then
      for _, taken in ipairs(slots) do redis.call('SADD', p .. 'slot:' .. taken, worker) end
      redis.call('HSET', job_key(id), 'slot', table.concat(slots, ' '))
    elseif job.slot then
      redis.call('HDEL', job_key(id), 'slot')
    end
    redis.call('HINCRBY', job_key(id), 'token', 1)
    redis.call('HSET', job_key(id), 'state', 'processing', 'worker', worker, 'started_at', stamp(at))
    return { id, ends, redis.call('HGETALL', job_key(id)) }
  else
    -- Cancelled between the pop and the claim, or forgotten; or popped although it should not run here now.
    redis.call('LREM', own, 0, id)
    if job.state == 'waiting' then
      wait_first(id)
      return (limited or not job.affinity or draining) and 'full' or 'later'
    end
  end
  id = redis.call('LINDEX', own, -1)
end
