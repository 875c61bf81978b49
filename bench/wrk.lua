-- SPDX-License-Identifier: MIT
-- One script for every contestant: the requests of a scenario, one after the other, each with the
-- header of another user. Arguments after "--": the scenario's method, path, body, and a file with a
-- header line for each user.
local requests = {}
local at = 0

function init(args)
    local method, path, body, headers_file = args[1], args[2], args[3], args[4]
    for line in io.lines(headers_file) do
        local name, value = string.match(line, "^([^:]+): (.*)$")
        local headers = { [name] = value }
        if body ~= "" then
            headers["Content-Type"] = "application/json"
        end
        requests[#requests + 1] = wrk.format(method, path, headers, body ~= "" and body or nil)
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end
