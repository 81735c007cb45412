-- ARGV: id, JSON list of jobs. Let a job that has not started wait for these, too. Returns 1, or 0 when it is running,
-- has ended or is unknown.
local id = ARGV[1]
local job = read_fields(id, 'state', 'list')
if job.state ~= 'waiting' and job.state ~= 'delayed' then return 0 end
if add_dependencies(id, cjson.decode(ARGV[2])) > 0 then
  redis.call('ZREM', p .. 'delayed', id)
  remove_from_list(job.list, id)
  redis.call('HSET', job_key(id), 'state', 'delayed')
end
return 1
