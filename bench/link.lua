-- SPDX-License-Identifier: MIT
-- Whole link flows: authorize, then a callback with the state that it gave, as soon as it is there.
-- The same arguments as wrk.lua, with a path that both endpoints begin with. Answers come in no
-- order, so an authorize bears the number of its user as its request id, which the answer repeats.
local users = {}
local ready = {}
local at = 0
local callback_path

function init(args)
    local path, body = args[2], args[3]
    callback_path = path .. "callback"
    for token in io.lines(args[4]) do
        local number = tostring(#users + 1)
        local headers = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
        local authorize = wrk.format("POST", path .. "authorize",
            { ["Authorization"] = headers["Authorization"], ["Content-Type"] = headers["Content-Type"],
              ["X-Request-ID"] = number }, body)
        users[#users + 1] = { headers = headers, authorize = authorize }
    end
end

function request()
    local flow = table.remove(ready)
    if flow then
        return wrk.format("POST", callback_path, flow.user.headers, '{"code":"bench","state":"' .. flow.state .. '"}')
    end
    at = at % #users + 1
    return users[at].authorize
end

function response(_, headers, body)
    local state = string.match(body, '"state":"([^"]+)"')
    if state then
        ready[#ready + 1] = { user = users[tonumber(headers["X-Request-ID"] or headers["x-request-id"])], state = state }
    end
end
