-- ARGV: id. A dead job gets all its attempts again. Returns 1, or 0 when it is not dead.
local id = ARGV[1]
if redis.call('HGET', job_key(id), 'state') ~= 'dead' then return 0 end
redis.call('HDEL', job_key(id), 'attempts', 'rescues', 'rescued_at', 'finished_at', 'cancel', 'ended', 'worker')
local head, letters, first = '{"job_id":' .. quote(id) .. ',', p .. 'dead_letter_queue', 0
while true do
  local page = redis.call('LRANGE', letters, first, first + 99)
  for _, letter in ipairs(page) do
    if string.sub(letter, 1, #head) == head then redis.call('LREM', letters, 1, letter) end
  end
  if #page < 100 then break end
  first = first + 100
end
count('replayed')
wait_last(id)
return 1
