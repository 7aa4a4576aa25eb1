-- What wrk does: the requests, and what it tells at the end. BALLOTS is a file of forms, one a line, each sent once; ACKS takes every answer.
local ballots, acks, at = {}, nil, 0

if os.getenv("BALLOTS") then
  for line in io.lines(os.getenv("BALLOTS")) do ballots[#ballots + 1] = line end
  acks = io.open(os.getenv("ACKS"), "a")
  acks:setvbuf("line")
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }

  request = function()
    at = at + 1
    if at >= #ballots then wrk.thread:stop() end
    return wrk.format("POST", wrk.path, headers, ballots[at] or "")
  end

  response = function(status, headers)
    acks:write(status, " ", headers["location"] or headers["Location"] or "-", "\n")
  end
end

done = function(summary, latency, requests)
  io.write(string.format(
    '\nJSON {"requests": %d, "wall_us": %d, "median_ms": %.3f, "p99_ms": %.3f, "worst_ms": %.3f, "not_2xx_or_3xx": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
