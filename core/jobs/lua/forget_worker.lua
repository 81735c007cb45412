-- ARGV: worker. Delete the records of a process that ended, those of all its slots. The reaper still watches their lists
-- for a while: a pop on their behalf may have been under way.
for _, worker in ipairs(workers_of_process(ARGV[1])) do redis.call('DEL', p .. 'worker:' .. worker) end
return 1
