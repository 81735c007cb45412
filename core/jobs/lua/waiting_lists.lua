-- Functions that the scripts share: the lists of waiting jobs and their order.
--
-- A job has a rank: twice its priority, and one more when it returned to the front after its turn. The highest rank is
-- next; within a rank, owners take turns, and the jobs of one owner come in the order in which they were added.
-- This is kept beside each list, so that no call has to search the list:
--
--   waiting:<list>:<rank>:<owner>  sorted set: the jobs of an owner in their order
--   turns:<list>                   sorted set: `<rank>:<owner>` by the rank, then by the turn of the owner
--   places:<list>                  sorted set: every job of the list by its place; the right end is the lowest
--   ordered                        hash: of each list, how many jobs at its right end are in order
--   sequence                       the last number that was used for a place, a turn or an order
--
-- Only the right end of a list is kept in order: a blocking pop takes the next job. A job that leaves the middle is
-- replaced by the leftmost one. The list is the truth: a pop that no script made is noticed by the length, and an
-- index that does not match (jobs of an older version, which had none) is repaired.
local ORDERED_MOST, ORDERED_LEAST = 32, 16
local RANK_SPAN = 10000000000000

local function turns_key(list) return p .. 'turns:' .. list end

local function places_key(list) return p .. 'places:' .. list end

local function queue_key(list, entry) return p .. 'waiting:' .. list .. ':' .. entry end

local function entry_of(rank, owner)
  return string.format('%02d:%s', rank, owner)
end

local function turn_score(entry, turn)
  return turn - tonumber(string.sub(entry, 1, 2)) * RANK_SPAN
end

local function next_number()
  return redis.call('INCR', p .. 'sequence')
end

-- Return the priority (1–10) and the owner of a job.
local function read_order_fields(id)
  local job = read_fields(id, 'priority', 'owner')
  return math.max(1, math.min(10, math.floor(tonumber(job.priority) or 5))), job.owner or ''
end

-- Return a list and the lists of jobs of the same role with other constraints: an owner's turn counts in all of them.
local function related_lists(list)
  local base = string.match(list, '^[^@]*')
  local lists = { base }
  for _, constraint in ipairs(redis.call('SMEMBERS', p .. 'wishes:' .. base)) do
    lists[#lists + 1] = base .. '@' .. constraint
  end
  return lists
end

-- Return the ids of the next jobs in order, at most `count`.
local function next_jobs(list, count)
  local ids = {}
  local entries, position = redis.call('ZRANGE', turns_key(list), 0, count - 1), 1
  while entries[position] and #ids < count do
    local rank, group = string.sub(entries[position], 1, 2), {}
    while entries[position] and string.sub(entries[position], 1, 2) == rank do
      group[#group + 1] = entries[position]
      position = position + 1
    end
    local offset = 0
    while #group > 0 and #ids < count do
      local step, pages, longer = math.ceil((count - #ids) / #group), {}, {}
      for index, entry in ipairs(group) do
        pages[index] = redis.call('ZRANGE', queue_key(list, entry), offset, offset + step - 1)
        if #pages[index] == step then longer[#longer + 1] = entry end
      end
      for round = 1, step do
        for index = 1, #group do
          local id = pages[index][round]
          if id and #ids < count then ids[#ids + 1] = id end
        end
      end
      offset, group = offset + step, longer
    end
  end
  return ids
end

-- Take a job from the queue of its owner. Return its entry in `turns`, and whether the owner has more there.
local function leave_queue(list, id)
  local priority, owner = read_order_fields(id)
  for _, entry in ipairs({ entry_of(2 * priority, owner), entry_of(2 * priority + 1, '') }) do
    if redis.call('ZREM', queue_key(list, entry), id) == 1 then
      local more = redis.call('EXISTS', queue_key(list, entry)) == 1
      if not more then redis.call('ZREM', turns_key(list), entry) end
      return entry, more
    end
  end
end

-- Put a job into the queue of its owner. Return its entry in `turns`, and how many jobs are before it there.
local function join_queue(list, id, to_front, number)
  local priority, owner = read_order_fields(id)
  local entry = to_front and entry_of(2 * priority + 1, '') or entry_of(2 * priority, owner)
  local before = redis.call('ZCARD', queue_key(list, entry))
  redis.call('ZADD', queue_key(list, entry), to_front and -number or number, id)
  if not redis.call('ZSCORE', turns_key(list), entry) then
    local turn
    for _, related in ipairs(related_lists(list)) do
      turn = turn or redis.call('ZSCORE', turns_key(related), entry)
    end
    redis.call('ZADD', turns_key(list), turn or turn_score(entry, number), entry)
  end
  return entry, to_front and 0 or before
end

local repair, settle

-- Bring the next jobs to the right end of a list, in order. A job from the middle swaps places with one that leaves.
local function refresh(list)
  local key, places = p .. list, places_key(list)
  local targets = next_jobs(list, ORDERED_MOST)
  if #targets == 0 then
    redis.call('HDEL', p .. 'ordered', list)
    return redis.call('EXISTS', key) == 1 and repair(list)
  end
  local slots = redis.call('ZRANGE', places, 0, #targets - 1, 'WITHSCORES')
  local actual = redis.call('LRANGE', key, -#targets, -1)
  local current, is_target, is_current, displaced = {}, {}, {}, {}
  for index = 1, #targets do
    current[index] = actual[#targets - index + 1]
    if current[index] ~= slots[2 * index - 1] then return repair(list) end
    if not current[index] then return repair(list) end
    is_current[current[index]] = true
    is_target[targets[index]] = true
  end
  for _, id in ipairs(current) do
    if not is_target[id] then displaced[#displaced + 1] = id end
  end
  local moves, scores = {}, {}
  for index, id in ipairs(targets) do
    if not is_current[id] then
      local rank = redis.call('ZRANK', places, id)
      if not rank or redis.call('LINDEX', key, -1 - rank) ~= id then return repair(list) end
      local other = displaced[#moves / 2 + 1]
      moves[#moves + 1], moves[#moves + 2] = -1 - rank, other
      scores[#scores + 1], scores[#scores + 2] = redis.call('ZSCORE', places, id), other
    end
  end
  for index, id in ipairs(targets) do
    if current[index] ~= id then
      moves[#moves + 1], moves[#moves + 2] = -index, id
      scores[#scores + 1], scores[#scores + 2] = slots[2 * index], id
    end
  end
  redis.call('HDEL', p .. 'ordered', list)
  for index = 1, #moves, 2 do redis.call('LSET', key, moves[index], moves[index + 1]) end
  if #scores > 0 then redis.call('ZADD', places, unpack(scores)) end
  redis.call('HSET', p .. 'ordered', list, #targets)
end

-- Bring the index of a list in line with the list: jobs that it lacks follow those that it has, from the right.
repair = function(list)
  local key, places, turns = p .. list, places_key(list), turns_key(list)
  redis.call('DEL', places)
  local ids, indexed = redis.call('LRANGE', key, 0, -1), {}
  for index = #ids, 1, -1 do
    if indexed[ids[index]] == nil then
      redis.call('ZADD', places, next_number(), ids[index])
      indexed[ids[index]] = false
    else
      redis.call('LREM', key, 1, ids[index])
    end
  end
  for _, entry in ipairs(redis.call('ZRANGE', turns, 0, -1)) do
    local queue = queue_key(list, entry)
    for _, id in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
      if indexed[id] == nil then redis.call('ZREM', queue, id) else indexed[id] = true end
    end
    if redis.call('EXISTS', queue) == 0 then redis.call('ZREM', turns, entry) end
  end
  for index = #ids, 1, -1 do
    if not indexed[ids[index]] then
      join_queue(list, ids[index], false, next_number())
      indexed[ids[index]] = true
    end
  end
  refresh(list)
end

-- Record that jobs left the right end of a list for a worker: in each list the owner's turn is over.
local function record_pops(list, ids)
  local changed = {}
  for _, id in ipairs(ids) do
    redis.call('ZREM', places_key(list), id)
    local entry, more = leave_queue(list, id)
    local related = entry and related_lists(list) or {}
    if more or #related > 1 then
      local score = turn_score(entry, next_number())
      for _, other in ipairs(related) do
        if redis.call('ZADD', turns_key(other), 'XX', 'CH', score, entry) == 1 then changed[other] = true end
      end
    end
  end
  local ordered = redis.call('HINCRBY', p .. 'ordered', list, -#ids)
  if ordered < ORDERED_LEAST and redis.call('LLEN', p .. list) ~= ordered then
    refresh(list)
  elseif ordered == 0 then
    redis.call('HDEL', p .. 'ordered', list)
  end
  for other in pairs(changed) do
    if other ~= list then
      settle(other)
      refresh(other)
    end
  end
end

-- Record the pops that no script made, and notice what the index does not know; once in a script.
local settled = {}
settle = function(list)
  if settled[list] then return end
  settled[list] = true
  local length, size = redis.call('LLEN', p .. list), redis.call('ZCARD', places_key(list))
  local popped = size - length
  local first = popped >= 0 and redis.call('ZRANGE', places_key(list), popped, popped)[1]
  if first ~= (redis.call('LINDEX', p .. list, -1) or nil) then return repair(list) end
  if popped > 0 then record_pops(list, redis.call('ZRANGE', places_key(list), 0, popped - 1)) end
end

-- Add a job to a list: behind all of its priority and owner, or (it has had its turn) before all of its priority.
local function add_to_list(list, id, to_front)
  settle(list)
  local length, number = redis.call('LPUSH', p .. list, id), next_number()
  redis.call('ZADD', places_key(list), number, id)
  local entry, before = join_queue(list, id, to_front, number)
  local ordered = tonumber(redis.call('HGET', p .. 'ordered', list) or 0)
  if ordered < ORDERED_MOST and ordered == length - 1 and before == length - 1 then
    redis.call('HSET', p .. 'ordered', list, length)
  elseif ordered < ORDERED_LEAST
    or before < ordered and redis.call('ZRANK', turns_key(list), entry) < ordered then
    refresh(list)
  end
end

-- Take a job from the middle of a list; nothing happens when it is not there.
local function remove_from_list(list, id)
  settle(list)
  local key, places = p .. list, places_key(list)
  local rank, score = redis.call('ZRANK', places, id), redis.call('ZSCORE', places, id)
  if rank and redis.call('LINDEX', key, -1 - rank) ~= id then
    repair(list)
    rank, score = redis.call('ZRANK', places, id), redis.call('ZSCORE', places, id)
  end
  if not rank then return end
  local leftmost = redis.call('LPOP', key)
  redis.call('ZREM', places, id)
  if leftmost ~= id then
    redis.call('LSET', key, -1 - rank, leftmost)
    redis.call('ZADD', places, score, leftmost)
  end
  leave_queue(list, id)
  if rank < tonumber(redis.call('HGET', p .. 'ordered', list) or 0) then refresh(list) end
end

-- Take the next job of a list for a worker.
local function pop_from_list(list)
  local id = redis.call('RPOP', p .. list)
  if id then record_pops(list, { id }) end
  return id
end

-- Add a job behind all of its priority and owner.
local function wait_last(id)
  local list = redis.call('HGET', job_key(id), 'list')
  redis.call('HSET', job_key(id), 'state', 'waiting')
  add_to_list(list, id, false)
end

-- Add a job before all of its priority: it has had its turn already.
local function wait_first(id)
  local list = redis.call('HGET', job_key(id), 'list')
  redis.call('HSET', job_key(id), 'state', 'waiting')
  add_to_list(list, id, true)
end
