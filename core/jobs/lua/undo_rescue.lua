-- ARGV: worker, job. Its worker was only cut off from Redis: its latest rescue, if it was of that job, is not counted.
-- Returns 1, or 0 when there is none.
return uncount_rescue(ARGV[1], ARGV[2]) and 1 or 0
