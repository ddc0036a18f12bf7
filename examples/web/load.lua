-- For wrk: posts, and counts the answers by their status. wrk itself counts them only as "Non-2xx or 3xx".
wrk.method = "POST"

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init()
    ok, busy, other = 0, 0, 0
end

function response(status, headers)
    if status == 200 then
        ok = ok + 1
    elseif status == 503 and headers["retry-after"] then
        busy = busy + 1
    else
        other = other + 1
    end
end

function done(summary)
    local sums = { ok = 0, busy = 0, other = 0 }
    for _, thread in ipairs(threads) do
        for name, sum in pairs(sums) do
            sums[name] = sum + thread:get(name)
        end
    end
    local errors = summary.errors
    print(string.format("200: %d, 503 with Retry-After: %d, anything else: %d", sums.ok, sums.busy, sums.other))
    print(string.format("socket errors: connect %d, read %d, write %d, timeout %d",
        errors.connect, errors.read, errors.write, errors.timeout))
end
