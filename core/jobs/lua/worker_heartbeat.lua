-- ARGV: worker. Record that it is alive.
redis.call('ZREM', p .. 'workers', ARGV[1])
redis.call('ZADD', p .. 'workers', stamp(now()), ARGV[1])
return 1
