-- ARGV: lists. Returns their lengths, then how many jobs are processed, delayed and dead.
local depths = {}
for index, list in ipairs(ARGV) do
  depths[index] = redis.call('LLEN', p .. list)
  for _, constraint in ipairs(redis.call('SMEMBERS', p .. 'wishes:' .. list)) do
    depths[index] = depths[index] + redis.call('LLEN', p .. list .. '@' .. constraint)
  end
end
depths[#depths + 1] = redis.call('ZCARD', p .. 'leases')
depths[#depths + 1] = redis.call('ZCARD', p .. 'delayed')
depths[#depths + 1] = redis.call('LLEN', p .. 'dead_letter_queue')
return depths
