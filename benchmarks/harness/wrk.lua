-- wrk script: sends the requests of a file in turn, each stored as "length\nbytes". Prints the result as one line of JSON.
local requests, next_request = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local length = file:read("*n", 1)
  while length do
    requests[#requests + 1] = file:read(length)
    length = file:read("*n", 1)
  end
  file:close()
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "failed": %d, "broken": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
