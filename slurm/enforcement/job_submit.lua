--[[
First layer: which jobs may enter the queue of a gated partition (job_submit/lua of SLURM 22.05, Lua 5.1; JobSubmitPlugins=lua; beside slurm.conf).

slurmctld calls this under its locks for every submission and change, so it only looks: `coop slurm sync` has checked the operator's order and the members'
approval, and left SITE/orders/HEX.ok. All of it is checked again when the job starts (prolog_slurmctld.sh), from the files themselves.
SLURM ACCEPTS a job when this script fails, so everything runs under pcall and a failure refuses.
`coop slurm install` fills in the next three lines. TRUSTED: root and SlurmUser, who could remove this script as well.
]]
local SITE = "/var/lib/coop-site"
local GATED = { ["coop"] = true }
local TRUSTED = { [0] = true }

local DENIED = slurm.ESLURM_ACCESS_DENIED or slurm.ERROR
local FIRST_LINE = "#!/bin/bash -p\n" -- -p: neither BASH_ENV nor functions of the environment change what the script does
-- Of the environment only what is named can be read here. What is named makes another program of the one that was voted on.
local FORBIDDEN = {
  "BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_DEBUG_OUTPUT", "LD_PROFILE", "LD_PROFILE_OUTPUT",
  "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONEXECUTABLE", "PYTHONUSERBASE", "PYTHONBREAKPOINT", "PYTHONWARNINGS",
  "PYTHONPLATLIBDIR", "PYTHONPYCACHEPREFIX", "PYTHONCASEOK", "BASH_FUNC_srun%%", "BASH_FUNC_scontrol%%", "BASH_FUNC_module%%",
}

-- SLURM says "not given" with NO_VAL (32 or 16 bits wide) and "without limit" with the number after it.
local function given(number) return number ~= nil and number < slurm.NO_VAL and number ~= 65534 and number ~= 65535 end

local function refuse(what, todo)
  slurm.log_user("coop: job REFUSED: %s", what)
  if todo then slurm.log_user("coop: next: %s", todo) end
  slurm.log_info("coop job_submit: refused: %s", what)
  return DENIED
end

local function gated(partitions)
  for name in string.gmatch(partitions or "", "[^,]+") do
    if GATED[name] then return true end
  end
  return false
end

local function default_partition(part_list)
  for _, part in pairs(part_list) do
    if part.flag_default == 1 then return part.name end
  end
end

local function read_order(hex)
  local file = io.open(SITE .. "/orders/" .. hex .. ".ok", "r")
  if not file then return nil end
  local order = {}
  for line in file:lines() do
    local key, value = string.match(line, "^(%l+)=(.*)$")
    if key then order[key] = value end
  end
  file:close()
  return order
end

local function number(order, key) return assert(tonumber(order[key]), "no " .. key .. " in the order") end

-- GPUs asked for, as far as a request says; what the job is really given is counted when it starts.
local function devices(job, nodes)
  local function count(tres)
    local sum = 0
    for item in string.gmatch(tres or "", "[^,]+") do
      if string.find(item, "gpu", 1, true) then sum = sum + (tonumber(string.match(item, ":(%d+)$")) or 1) end
    end
    return sum
  end
  local tasks = given(job.num_tasks) and job.num_tasks or nodes
  return math.max(count(job.tres_per_job), count(job.tres_per_node) * nodes, count(job.tres_per_task) * tasks)
end

local function submit(job, part_list, uid)
  if not gated(job.partition or default_partition(part_list)) then return slurm.SUCCESS end
  if given(job.het_job_offset) then return refuse("heterogeneous jobs cannot be voted on as one", "submit one job, as coop submit does") end
  if not job.script or job.script == "" then
    return refuse("only batch scripts run here: what srun and salloc would start, nobody has seen", "coop submit PLAN --site NAME")
  end
  local hex = string.match(job.comment or "", "^coop:(%x+)$")
  if not hex or #hex ~= 64 or hex ~= string.lower(hex) then
    return refuse("it names no order (--comment=coop: and 64 hexadecimal digits)", "coop submit PLAN --site NAME, which writes it")
  end
  local order = read_order(hex)
  if not order then
    return refuse(
      "order " .. string.sub(hex, 1, 12) .. " is not in force here: not approved, halted, expired, used, or not checked yet",
      "read " .. SITE .. "/orders/" .. hex .. ".no, or wait for the next coop slurm sync"
    )
  end
  if os.time() >= number(order, "expires") then return refuse("the order has expired", "coop submit again") end
  if given(job.user_id) and job.user_id ~= number(order, "user") then return refuse("the order is for another user", "submit as the user it names") end
  if string.sub(job.script, 1, #FIRST_LINE) ~= FIRST_LINE then return refuse("the script does not begin with #!/bin/bash -p", "submit the script as coop submit wrote it") end
  for _, name in ipairs(FORBIDDEN) do
    if job.environment and job.environment[name] ~= nil then
      return refuse(name .. " in the environment would change what the script does", "submit with --export=NONE, or unset " .. name)
    end
  end
  local nodes = given(job.min_nodes) and job.min_nodes or 1
  local most = given(job.max_nodes) and math.max(nodes, job.max_nodes) or nodes
  if most > number(order, "nodes") then return refuse(most .. " nodes asked, the order says " .. order.nodes, "submit the script as coop submit wrote it") end
  local asked = devices(job, nodes)
  if asked > number(order, "devices") then return refuse(asked .. " GPUs asked, the order says " .. order.devices, "submit the script as coop submit wrote it") end
  if not given(job.time_limit) then return refuse("it has no --time", "submit the script as coop submit wrote it") end
  if job.time_limit > number(order, "minutes") then
    return refuse(job.time_limit .. " minutes asked, the order says " .. order.minutes, "submit the script as coop submit wrote it")
  end
  if (job.array_inx or "") ~= order.array then
    return refuse("array " .. (job.array_inx or "none") .. " asked, the order says " .. (order.array ~= "" and order.array or "none"), "submit the script as coop submit wrote it")
  end
  job.admin_comment = "coop: order " .. string.sub(hex, 1, 12) .. " (" .. order.kind .. " of " .. order.run .. ")" -- users cannot change it
  return slurm.SUCCESS
end

local TEXTS = {
  "partition", "comment", "name", "script", "tres_per_job", "tres_per_node", "tres_per_socket", "tres_per_task", "req_nodes", "exc_nodes", "features", "account",
  "qos", "reservation", "array_inx", "licenses", "std_out", "std_err", "work_dir", "burst_buffer", "container",
}
local NUMBERS = { "min_nodes", "max_nodes", "num_tasks", "min_cpus", "max_cpus", "ntasks_per_node", "cpus_per_task", "user_id", "shared" }

-- Message and reason of a refused change go to slurmctld's log only: scontrol shows "Access/permission denied".
local function modify(job, record, _, uid)
  if TRUSTED[uid] or not gated(job.partition or record.partition) then return slurm.SUCCESS end
  local changed = {}
  for _, name in ipairs(TEXTS) do
    if job[name] ~= nil then changed[#changed + 1] = name end
  end
  for _, name in ipairs(NUMBERS) do
    if given(job[name]) and job[name] ~= 0 then changed[#changed + 1] = name end
  end
  if job.time_limit ~= nil and job.time_limit ~= slurm.NO_VAL and job.time_limit > (record.time_limit or 0) then changed[#changed + 1] = "time_limit" end
  if #changed == 0 then return slurm.SUCCESS end -- hold, release, nice, a shorter time
  slurm.log_info("coop job_submit: refused: change of %s of job %s", table.concat(changed, ", "), tostring(record.job_id))
  return DENIED
end

local function guarded(act)
  return function(...)
    local fine, result = pcall(act, ...)
    if fine and type(result) == "number" then return result end
    slurm.log_error("coop job_submit: %s", tostring(result))
    slurm.log_user("coop: job REFUSED: the check itself failed; tell the cluster's admins")
    return DENIED
  end
end

slurm_job_submit = guarded(submit)
slurm_job_modify = guarded(modify)
return slurm.SUCCESS
