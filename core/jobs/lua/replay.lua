-- ARGV: id, 1 to accept a cancelled job, too, JSON list of its dependencies. Give a dead job all its attempts again.
-- Returns 1, or 0 when it is not dead.
local id, state = ARGV[1], redis.call('HGET', job_key(ARGV[1]), 'state')
if state ~= 'dead' and not (state == 'cancelled' and ARGV[2] == '1') then return 0 end
redis.call('PERSIST', job_key(id))
redis.call('ZREM', p .. 'forgotten', id)
redis.call('HDEL', job_key(id), 'attempts', 'rescues', 'rescued_at', 'finished_at', 'cancel', 'ended', 'worker', 'awaits')
local head, letters, first = '{"job_id":' .. quote(id) .. ',', p .. 'dead_letter_queue', 0
while true do
  local page = redis.call('LRANGE', letters, first, first + 99)
  for _, letter in ipairs(page) do
    if string.sub(letter, 1, #head) == head then redis.call('LREM', letters, 1, letter) end
  end
  if #page < 100 then break end
  first = first + 100
end
increment('replayed')
if add_dependencies(id, cjson.decode(ARGV[3])) > 0 then
  redis.call('HSET', job_key(id), 'state', 'delayed')
else
  wait_last(id)
end
return 1
