-- ARGV: id, token, worker, lease seconds, bytes before the chunk, sample rate, chunk, most chunks that may wait, words
-- that end in the chunk ('' for none).
-- Renew the lease and add a chunk of audio to the stream of a job. What was published before, by this worker or by the
-- one that had the job first, is not published again. Returns held, cancel, lost, or full while the reader is behind.
local id, start, chunk = ARGV[1], tonumber(ARGV[5]), ARGV[7]
local job = read_fields(id, 'state', 'token', 'worker', 'cancel', 'published')
if not holds_lease(job, ARGV[2], ARGV[3]) then return 'lost' end
redis.call('ZREM', p .. 'leases', id)
redis.call('ZADD', p .. 'leases', stamp(now() + ARGV[4]), id)
if job.cancel then return 'cancel' end
local published = tonumber(job.published or 0)
if published < start then return redis.error_reply('ERR chunk at byte ' .. start .. ' after ' .. published) end
if start + #chunk <= published then return 'held' end
if redis.call('XLEN', stream_key(id)) >= tonumber(ARGV[8]) then return 'full' end
local entry = {'at', published, 'rate', ARGV[6], 'pcm', string.sub(chunk, published - start + 1)}
if ARGV[9] ~= '' then
  table.insert(entry, 'words')
  table.insert(entry, ARGV[9])
end
redis.call('XADD', stream_key(id), '*', unpack(entry))
redis.call('EXPIRE', stream_key(id), STREAM_SECONDS)
redis.call('HSET', job_key(id), 'published', start + #chunk)
return 'held'
