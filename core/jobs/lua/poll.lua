-- ARGV: ids of jobs or topics. Returns for each the id of its last event and the state of the job, as one text: what
-- changes when something has happened.
local marks = {}
for index, id in ipairs(ARGV) do
  local last = redis.call('XREVRANGE', p .. 'events:' .. id, '+', '-', 'COUNT', 1)[1]
  marks[index] = (last and last[1] or '') .. ' ' .. (redis.call('HGET', job_key(id), 'state') or '')
end
return marks
