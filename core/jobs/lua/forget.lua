-- ARGV: id. Delete a job that is done or cancelled before its time. Returns 1, or 0 when it is neither.
local id = ARGV[1]
local state = redis.call('HGET', job_key(id), 'state')
if state ~= 'done' and state ~= 'cancelled' then return 0 end
redis.call('ZADD', p .. 'forgotten', 0, id)
remove_expired_from_index(now())
redis.call('DEL', job_key(id), p .. 'events:' .. id, p .. 'parts:' .. id)
return 1
