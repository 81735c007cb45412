-- ARGV: id, kind, data, seconds to keep. Returns the entry's id.
return publish(ARGV[1], ARGV[2], ARGV[3], ARGV[4])
