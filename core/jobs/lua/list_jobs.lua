-- ARGV: kind or nothing, how many to skip, how many to look at.
-- Returns how many jobs are listed, then {id, fields} of each, newest first, without payload and result.
local key = p .. 'jobs' .. (ARGV[1] ~= '' and ':' .. ARGV[1] or '')
local names = { 'role', 'state', 'priority', 'attempts', 'rescues', 'topic', 'owner', 'worker', 'cancel', 'awaits',
  'request', 'created_at', 'started_at', 'finished_at', 'error' }
remove_expired_from_index(now())
local reply = { redis.call('ZCARD', key) }
for _, id in ipairs(redis.call('ZREVRANGE', key, ARGV[2], ARGV[2] + ARGV[3] - 1)) do
  local values, fields = redis.call('HMGET', job_key(id), unpack(names)), {}
  for index, name in ipairs(names) do
    if values[index] then
      fields[#fields + 1] = name
      fields[#fields + 1] = values[index]
    end
  end
  if values[1] then reply[#reply + 1] = { id, fields } end
end
return reply
