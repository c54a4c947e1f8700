/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Calls that make connections: how long accept(2) left one waiting, and connect(2) that fails before a SYN is sent. */

/* Own address, peer address and port of a socket that is only an address to us. Return: its remote port. */
static __always_inline __u16 key_of_sock(__u64 sk, struct sonde_tcp_cell_key *key)
{
	const struct sock_common *skc = (void *)sk;

	key->protocol = IPPROTO_TCP;
	key->netns = netns_cookie(skc);
	key->port = BPF_CORE_READ(skc, skc_num);
	if (BPF_CORE_READ(skc, skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&key->laddr, skc, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&key->raddr, skc, skc_v6_daddr);
	} else {
		map_v4(key->laddr, BPF_CORE_READ(skc, skc_rcv_saddr));
		map_v4(key->raddr, BPF_CORE_READ(skc, skc_daddr));
	}
	return bpf_ntohs(BPF_CORE_READ(skc, skc_dport));
}

/* Who owns the other end of an accepted connection; 0 when it is no target's. */
static __always_inline __u32 peer_of_accepted(const struct sonde_tcp_cell_key *key, __u16 rport)
{
	struct sonde_tcp_tuple tuple = {.lport = rport, .rport = key->port};
	struct sonde_tcp_end *end;

	__builtin_memcpy(tuple.laddr, key->raddr, 16);
	__builtin_memcpy(tuple.raddr, key->laddr, 16);
	tuple.netns = is_loopback(key->laddr) ? key->netns : 0;
	end = bpf_map_lookup_elem(&sonde_tuples, &tuple);
	return end ? end->pid : 0;
}

/* @sk: the address of the connection that a thread of a target accepted. */
static __noinline int accepted(__u64 sk)
{
	struct sonde_tcp_cell_key key = {.role = SONDE_TCP_ROLE_SERVER};
	struct sonde_tcp_waiting *waiting;
	struct sonde_tcp_calls *calls;
	__u64 waited_ns = 0;
	__u32 index = 0;
	__u16 rport;

	key.pid = current_target();
	if (!sk || !key.pid)
		return 0;
	rport = key_of_sock(sk, &key);
	waiting = bpf_map_lookup_elem(&sonde_waiting, &sk);
	if (waiting) {
		waited_ns = bpf_ktime_get_ns() - waiting->since_ns;
		key.peer_pid = waiting->peer_pid;
		key.port = waiting->lport;
		bpf_map_delete_elem(&sonde_waiting, &sk);
	} else if (!key.port) {
		/* Reset since, and nobody noted where it had come to. */
		lose(SONDE_TCP_LOSS_CALL_WAITING, 1);
		return 0;
	} else {
		key.peer_pid = peer_of_accepted(&key, rport);
	}
	if (!cell_index(&key, &index))
		return 0;
	calls = calls_at(index);
	if (!calls)
		return 0;
	add(&calls->accepts, 1);
	if (!waited_ns)
		return 0;
	add(&calls->accept_queue_count, 1);
	add(&calls->accept_queue_sum_ns, waited_ns);
	sparse_add(index, SONDE_TCP_CALL_HIST_ACCEPT_QUEUE, waited_ns / 1000);
	return 0;
}

static __always_inline __u32 local_error(__u32 error)
{
	switch (error) {
	case ERR_NETUNREACH:
		return SONDE_TCP_LOCAL_ENETUNREACH;
	case ERR_HOSTUNREACH:
		return SONDE_TCP_LOCAL_EHOSTUNREACH;
	case ERR_INVAL:
		return SONDE_TCP_LOCAL_EINVAL;
	case ERR_ADDRNOTAVAIL:
		return SONDE_TCP_LOCAL_EADDRNOTAVAIL;
	case ERR_ACCES:
	case ERR_PERM:
		return SONDE_TCP_LOCAL_EACCES;
	default:
		return SONDE_TCP_LOCAL_OTHER;
	}
}

/* Not a failure of the connection, or one that is told elsewhere. */
static __always_inline bool connect_goes_on(__u32 error)
{
	return error == ERR_INPROGRESS || error == ERR_ALREADY || error == ERR_ISCONN ||
	       error == ERR_INTR || error >= ERR_RESTART;
}

/* Where the application wanted to go: struct sockaddr_in or sockaddr_in6, its own or the kernel's copy. */
static __always_inline long read_address(void *to, __u32 n, const void *from, bool user)
{
	return user ? bpf_probe_read_user(to, n, from) : bpf_probe_read_kernel(to, n, from);
}

static __always_inline void read_destination(const void *address, bool user,
					     struct sonde_tcp_cell_key *key)
{
	union {
		__u16 family;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to = {};

	if (read_address(&to.v4, sizeof(to.v4), address, user))
		return;
	key->port = bpf_ntohs(to.v4.sin_port);
	if (to.family == AF_INET) {
		map_v4(key->raddr, to.v4.sin_addr.s_addr);
	} else if (to.family == AF_INET6 && !read_address(&to.v6, sizeof(to.v6), address, user)) {
		__builtin_memcpy(key->raddr, &to.v6.sin6_addr, 16);
	}
}

static __noinline int connect_returns(__u64 sk, const void *address, bool user, __u32 error)
{
	struct sonde_tcp_cell_key key = {};
	struct sonde_tcp_calls *calls;
	__u32 index = 0;

	if (connect_goes_on(error))
		return 0;
	key.pid = current_target();
	if (!key.pid)
		return 0;
	(void)key_of_sock(sk, &key);
	key.role = SONDE_TCP_ROLE_CLIENT;
	read_destination(address, user, &key);
	error = local_error(error);
	if (!cell_index(&key, &index))
		return 0;
	calls = calls_at(index);
	if (calls && error < SONDE_TCP_LOCAL_ERROR_MAX)
		add(&calls->local_failed[error], 1);
	return 0;
}
