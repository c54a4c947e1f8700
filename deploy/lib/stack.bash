# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # rig_dir is the caller's
# The server and the agent out of build/, in the folder rig_dir: configs, state, logs, pids and ports are files there.
# Needs rig.bash. stack_grpc_port and stack_http_port ask for ports; where they are 0, stack_config finds free ones.

stack_grpc_port=${stack_grpc_port:-0}
stack_http_port=${stack_http_port:-0}

stack_config() {
	local free
	# Not one that the kernel may give to somebody else while the server is away.
	free=$(python3 -c 'import random, socket
with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
    given = int(f.read().split()[0])
held = []
while len(held) < 2:
    try:
        held.append(socket.create_server(("127.0.0.1", random.randrange(10000, given) if given > 11000 else 0)))
    except OSError:
        pass # somebody has it
print(*(s.getsockname()[1] for s in held))')
	[ "$stack_grpc_port" != 0 ] || stack_grpc_port=${free% *}
	[ "$stack_http_port" != 0 ] || stack_http_port=${free#* }
	echo "$stack_grpc_port" >"$rig_dir/grpc.port"
	echo "$stack_http_port" >"$rig_dir/http.port"
	mkdir -p "$rig_dir/server" "$rig_dir/agent"
	cat >"$rig_dir/server.yaml" <<-YAML
		grpc:
		  listen: 127.0.0.1:$stack_grpc_port
		http:
		  listen: 127.0.0.1:$stack_http_port
		state: $rig_dir/server
	YAML
	# One rule a program, by its executable: these copies are nobody else's.
	cat >"$rig_dir/agent.yaml" <<-YAML
		backend:
		  host: 127.0.0.1
		  port: $stack_grpc_port
		  poll: 1s
		processes:
		  scan: 1s
		  rules:
		    - { executable: $rig_dir/nginx-proxy, service: nginx-proxy }
		    - { executable: $rig_dir/nginx-backend, service: nginx-backend }
		    - { executable: $rig_dir/redis, service: redis }
	YAML
}

stack_start_server() {
	build/sonde-server --config "$rig_dir/server.yaml" >>"$rig_dir/server.log" 2>&1 </dev/null &
	echo $! >"$rig_dir/server.pid"
	rig_wait 90 curl -sf -o /dev/null "http://127.0.0.1:$(cat "$rig_dir/http.port")/healthz" || return 1
}

stack_start_agent() {
	build/sonde-agent --state-dir "$rig_dir/agent" --config "$rig_dir/agent.yaml" >>"$rig_dir/agent.log" 2>&1 </dev/null &
	echo $! >"$rig_dir/agent.pid"
}

stack_end() { # PID SECONDS: TERM, and KILL if it takes longer
	local tries=$(($2 * 10))
	kill -TERM "$1" 2>/dev/null || return 0
	while kill -0 "$1" 2>/dev/null && [ "$tries" -gt 0 ]; do
		tries=$((tries - 1))
		sleep 0.1
	done
	kill -KILL "$1" 2>/dev/null || true
}

stack_stop() {
	local name
	for name in agent server; do
		[ ! -s "$rig_dir/$name.pid" ] || stack_end "$(cat "$rig_dir/$name.pid")" 30
		rm -f "$rig_dir/$name.pid"
	done
}
