-- Sends the bodies in a folder (0.body, 1.body, ...; `headers`: a name and a value a line) in turn
-- and prints what it saw as one line of JSON. Arguments: the folder.
local requests = {}
local next_one = 0

function init(arguments)
  local folder = arguments[1]
  local headers = {}
  for line in io.lines(folder .. "/headers") do
    local name, value = line:match("^(.-): (.*)$")
    headers[name] = value
  end
  while true do
    local file = io.open(folder .. "/" .. #requests .. ".body", "rb")
    if not file then break end
    requests[#requests + 1] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}\n',
    summary.requests - errors.status, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
