-- ARGV: key of a request. Returns {running or done, fingerprint, response or ''}, {} where no request has the key.
local entry = redis.call('HMGET', p .. 'request:' .. ARGV[1], 'state', 'fingerprint', 'answer', 'until')
if entry[1] == 'done' or entry[1] == 'running' and tonumber(entry[4] or 0) > now() then
  return { entry[1], entry[2], entry[3] or '' }
end
return {}
