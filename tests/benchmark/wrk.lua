-- Sends the bodies in a folder (0.body, 1.body, ...; `headers`: a name and a value a line) in turn
-- and prints what it saw as one line of JSON. Arguments: the folder; and `patient` for clients who
-- do what Retry-After says, and for the number of answers of each status, which costs a little; then
-- the number of connections that begin not at once, but some time within the first second.
local requests = {}
local next_one = 0
local threads = {}

-- wrk asks for the delay of the next request some time after an answer, and does not say of which
-- connection: a client may wait in the place of another, which makes no difference to the load.
local function be_patient(late)
  local waits, first, last = {}, 1, 0
  statuses = {}

  function response(status, headers)
    statuses[status] = (statuses[status] or 0) + 1
    last = last + 1
    waits[last] = (headers["retry-after"] or headers["Retry-After"] or 0) * 1000
  end

  function delay()
    if late > 0 then
      late = late - 1
      return math.random(0, 1000)
    end
    if first > last then return 0 end
    local wait = waits[first]
    waits[first] = nil
    first = first + 1
    return wait
  end
end

function setup(thread)
  threads[#threads + 1] = thread
end

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
  if arguments[2] == "patient" then be_patient(tonumber(arguments[3])) end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end

function done(summary, latency, _)
  local errors, counts = summary.errors, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses") or {}) do
      counts[#counts + 1] = string.format('"%d": %d', status, count)
    end
  end
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d, "broken": %d, '
      .. '"statuses": {%s}}\n',
    summary.requests - errors.status, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    table.concat(counts, ", ")))
end
