-- ARGV: worker. It is still there.
redis.call('ZREM', p .. 'workers', ARGV[1])
redis.call('ZADD', p .. 'workers', stamp(now()), ARGV[1])
return 1
