# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # rig_prefix and rig_dir are the caller's
# Real traffic on one machine, apart from its own network: four network namespaces joined by a bridge in a fifth.
#
#   client 10.77.0.1   wrk, redis-benchmark
#   proxy  10.77.0.2   nginx :8080, reverse proxy (two workers)
#   backend 10.77.0.3  nginx :9090, static files (two workers)
#   redis  10.77.0.4   redis :6379
#
# Set rig_prefix (names of the namespaces) and rig_dir (a folder that others may enter) first. The programs are run
# from copies named nginx-proxy, nginx-backend and redis, so that a rule can name just these and never the user's own.
# Everything in the namespaces is ours: rig_down ends whatever runs there, by its pid, and removes them.

rig_hosts=(client proxy backend redis)
rig_proxy_url=http://10.77.0.2:8080

rig_in() { # HOST COMMAND…
	ip netns exec "$rig_prefix-$1" "${@:2}"
}

# Sockets or ports say when a program is ready; nobody sleeps for a fixed time.
rig_wait() { # SECONDS COMMAND…: until it succeeds
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

rig_network() {
	local host n=1 switch=$rig_prefix-switch
	ip netns add "$switch"
	ip -n "$switch" link add br0 type bridge
	ip -n "$switch" link set br0 up
	for host in "${rig_hosts[@]}"; do
		ip netns add "$rig_prefix-$host"
		ip -n "$switch" link add "to-$host" type veth peer name eth0 netns "$rig_prefix-$host"
		ip -n "$switch" link set "to-$host" master br0 up
		ip -n "$rig_prefix-$host" link set lo up
		# One segment a packet, as on a wire: what nft counts in packets is then counted in segments.
		ip -n "$rig_prefix-$host" link set eth0 gso_max_segs 1
		ip -n "$rig_prefix-$host" addr add "10.77.0.$n/24" dev eth0
		ip -n "$rig_prefix-$host" link set eth0 up
		n=$((n + 1))
	done
}

rig_nginx() { # HOST SERVER-BLOCK
	local host=$1 dir=$rig_dir/$1
	mkdir -p "$dir"
	chmod 711 "$dir"
	cat >"$dir/nginx.conf" <<-CONF
		daemon off;
		pid $dir/nginx.pid;
		error_log $dir/error.log warn;
		worker_processes 2;
		events { worker_connections 4096; }
		http {
			access_log off;
			sendfile on;
			keepalive_requests 100000000;
			client_body_temp_path $dir/body;
			proxy_temp_path $dir/proxied;
			fastcgi_temp_path $dir/fastcgi;
			uwsgi_temp_path $dir/uwsgi;
			scgi_temp_path $dir/scgi;
			server { listen unix:$dir/status.sock; location / { stub_status; } }
			$2
		}
	CONF
	rig_in "$host" "$rig_dir/nginx-$host" -c "$dir/nginx.conf" >"$dir/out.log" 2>&1 </dev/null &
}

rig_servers() {
	cp -L "$(PATH=$PATH:/usr/sbin command -v nginx)" "$rig_dir/nginx-proxy"
	cp "$rig_dir/nginx-proxy" "$rig_dir/nginx-backend"
	cp -L "$(command -v redis-server)" "$rig_dir/redis"
	mkdir -p "$rig_dir/www"
	chmod 755 "$rig_dir/www"
	head -c 1000 /dev/zero | tr '\0' x >"$rig_dir/www/1k"
	# Think time: the machine is not to be saturated.
	printf "function delay() return math.random(0, 10) end\n" >"$rig_dir/think.lua"
	head -c 16000 /dev/zero | tr '\0' x >"$rig_dir/www/16k"
	rig_nginx backend "server { listen 9090 backlog=1024; root $rig_dir/www; }"
	# shellcheck disable=SC2016 # no variable of ours
	rig_nginx proxy 'upstream backend { server 10.77.0.3:9090; keepalive 16; keepalive_requests 100000000; }
			server { listen 8080 backlog=1024; location / {
				proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
			} }'
	rig_in redis "$rig_dir/redis" --bind 10.77.0.4 --protected-mode no --save '' --appendonly no \
		--dir "$rig_dir" --unixsocket "$rig_dir/redis.sock" >"$rig_dir/redis.log" 2>&1 </dev/null &
	rig_wait 90 rig_in client curl -sf -o /dev/null "$rig_proxy_url/1k" || return 1
	rig_wait 90 rig_in client redis-cli -h 10.77.0.4 ping
}

# PERCENT of what arrives at the proxy is dropped at random in its input hook, where a segment of a connection has its
# socket. A client's SYN has none yet: those are dropped and counted apart.
rig_loss() { # PERCENT
	rig_in proxy nft -f - <<-NFT
		table inet sonde {
			counter with_socket {}
			counter syn {}
			chain input {
				type filter hook input priority 0;
				iifname eth0 tcp flags & (syn | ack) == syn numgen random mod 100 < $1 counter name syn drop
				iifname eth0 tcp flags & (syn | ack) != syn numgen random mod 100 < $1 counter name with_socket drop
			}
		}
	NFT
}

rig_dropped() { # with_socket|syn: segments so far
	rig_in proxy nft -j list counter inet sonde "$1" | jq '[.nftables[] | .counter // empty | .packets][0]'
}

rig_nginx_accepts() { # HOST: TCP connections that it accepted, without those to the status socket
	# The counter's own callers are counted: keep how many there were.
	local n asked=$rig_dir/$1/asked
	echo >>"$asked"
	n=$(curl -sf --unix-socket "$rig_dir/$1/status.sock" http://status/ | awk 'NR == 3 { print $1 }')
	echo $((n - $(wc -l <"$asked")))
}

rig_down() {
	local host pids tries
	for host in "${rig_hosts[@]}" switch; do
		[ -e "/run/netns/$rig_prefix-$host" ] || continue
		for tries in {1..30}; do
			pids=$(ip netns pids "$rig_prefix-$host" 2>/dev/null | tr '\n' ' ')
			[ -n "${pids// /}" ] || break
			# shellcheck disable=SC2086 # a list of pids
			if [ "$tries" -lt 20 ]; then kill -TERM $pids 2>/dev/null; else kill -KILL $pids 2>/dev/null; fi || true
			sleep 0.1
		done
		ip netns del "$rig_prefix-$host" 2>/dev/null || true
	done
}
