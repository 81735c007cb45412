-- ARGV: id. A job that is done or cancelled is forgotten before its time. Returns whether it was.
local id = ARGV[1]
local state = redis.call('HGET', job_key(id), 'state')
if state ~= 'done' and state ~= 'cancelled' then return 0 end
redis.call('ZADD', p .. 'forgotten', 0, id)
unlist_forgotten(now())
redis.call('DEL', job_key(id), p .. 'events:' .. id)
return 1
