-- ARGV: worker, the job it runs or ''.
redis.call('ZREM', p .. 'workers', ARGV[1])
redis.call('ZADD', p .. 'workers', stamp(now()), ARGV[1])
if ARGV[2] ~= '' and redis.call('EXISTS', p .. 'worker:' .. ARGV[1]) == 1 then
  redis.call('HSET', p .. 'worker:' .. ARGV[1], 'job', ARGV[2])
end
return 1
