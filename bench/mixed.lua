-- SPDX-License-Identifier: MIT
-- What a platform's users do together, or whole link flows, by the name of the mix: 70 % connected,
-- 15 % library, 10 % authorize, 5 % callback; or a callback for every authorize. A callback bears a
-- state that an authorize gave. Answers come in no order, so an authorize bears the number of its
-- user as its request id, which the answer repeats. Arguments after "--": the mix, the path that all
-- endpoints begin with, authorize's body, and a file with a header line for each user.
local MIXES = {
    traffic = { "connected", "connected", "library", "connected", "connected", "authorize", "connected",
                "connected", "library", "connected", "connected", "callback", "connected", "connected",
                "authorize", "connected", "connected", "library", "connected", "connected" },
    link = { "authorize" },
}
local READY_MAX = 10000
local users = {}
local ready = {}
local mix
local at = 0
local prefix

function init(args)
    mix, prefix = MIXES[args[1]], args[2]
    local links = args[1] == "link"
    for line in io.lines(args[4]) do
        local name, value = string.match(line, "^([^:]+): (.*)$")
        local with_body = { [name] = value, ["Content-Type"] = "application/json" }
        local numbered = { [name] = value, ["Content-Type"] = "application/json",
                           ["X-Request-ID"] = tostring(#users + 1) }
        local user = { headers = with_body }
        user.authorize = wrk.format("POST", prefix .. "/oauth/authorize", numbered, args[3])
        if not links then
            user.connected = wrk.format("GET", prefix .. "/connected", { [name] = value })
            user.library = wrk.format("GET", prefix .. "/library?limit=20", { [name] = value })
        end
        users[#users + 1] = user
    end
end

local function callback()
    local flow = table.remove(ready)
    return wrk.format("POST", prefix .. "/oauth/callback", flow.user.headers,
                      '{"code":"bench","state":"' .. flow.state .. '"}')
end

function request()
    at = at + 1
    local what = mix[(at - 1) % #mix + 1]
    if #ready > 0 and (what == "callback" or #mix == 1) then
        return callback()
    end
    if what == "callback" then
        what = "authorize"
    end
    return users[at % #users + 1][what]
end

function response(_, headers, body)
    local state = string.match(body, '"state":"([^"]+)"')
    local number = tonumber(headers["X-Request-ID"] or headers["x-request-id"])
    if state and number and #ready < READY_MAX then
        ready[#ready + 1] = { user = users[number], state = state }
    end
end
