-- ARGV: worker, role, host, pid, device, workers of its process. A worker that is registered already keeps its `since`.
redis.call('HSET', p .. 'worker:' .. ARGV[1], 'role', ARGV[2], 'host', ARGV[3], 'pid', ARGV[4], 'device', ARGV[5],
  'slots', ARGV[6])
redis.call('HSETNX', p .. 'worker:' .. ARGV[1], 'since', stamp(now()))
redis.call('ZADD', p .. 'workers', stamp(now()), ARGV[1])
return 1
