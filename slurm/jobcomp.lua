--[[
What each start of a cleared job used, for the compute book (jobcomp/lua of SLURM 22.05, Lua 5.1; JobCompType=jobcomp/lua; beside slurm.conf).

slurmctld calls this when a start of a job ends, also when the job then goes back into the queue. If the start was cleared, its numbers go into
SITE/ended/JOB.RESTART.json, and `coop slurm sync` makes a signed statement of them. Of all other jobs nothing is written. No name, comment or
command of a job is read: nothing a user chose stands in the file.

Whatever goes wrong here, slurmctld and the job go on: a start whose file is missing is found by `coop slurm check`.
]]
local SITE = "/var/lib/coop-site"

local FIELDS = { -- in this order, which is that of canonical JSON
  { "end", "end_time" },
  { "gres", "gres_used" }, -- "gpu:h100:4", all nodes together
  { "job", "job_id" }, -- of an array task its own number, not the array's
  { "restart", "restart_cnt" },
  { "start", "start_time" },
  { "state", "job_state" },
  { "submit", "submit_time" }, -- of a requeued job: when it was put back
  { "tres", "tres_alloc_str" }, -- "1=16,4=2": TRES 4 is nodes; GPUs are in it only with slurmdbd
}

local function json(value)
  if type(value) == "number" then return string.format("%.0f", value) end
  if type(value) == "string" then return '"' .. value:gsub("[^%w:,=._/()-]", "?") .. '"' end
  return "null"
end

local function there(path)
  local file = io.open(path, "r")
  if file then file:close() end
  return file ~= nil
end

local function record(job)
  local name = string.format("%.0f.%.0f", job.job_id, job.restart_cnt)
  if not there(SITE .. "/clearance/" .. name .. ".json") then return end
  local parts = {}
  for number, field in ipairs(FIELDS) do parts[number] = '"' .. field[1] .. '":' .. json(job[field[2]]) end
  local path = SITE .. "/ended/" .. name .. ".json"
  local temporary = SITE .. "/ended/.tmp-" .. name
  local file = assert(io.open(temporary, "w"))
  local written, why = file:write("{", table.concat(parts, ","), "}")
  local closed = file:close() -- a full disk may show only here
  assert(written and closed, why or "could not be written")
  assert(os.rename(temporary, path))
end

function slurm_jobcomp_log_record(job)
  local fine, why = pcall(record, job)
  if not fine then slurm.log_error("coop jobcomp: %s", tostring(why)) end
  return slurm.SUCCESS
end

return slurm.SUCCESS
