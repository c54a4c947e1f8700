/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Seeding, as bpf/tcp/seed.bpf.h has it: LEARN notes where everybody listens, ENTER
 * enters the targets' sockets. bpf_sock_from_file() came later (5.11): a file is a
 * socket's if its inode is in the file system of sockets. Accept queues are not
 * walked; what waits in one is in the ledger.
 */

#define SOCKFS_MAGIC 0x534f434b

static __always_inline __u64 sock_of(const struct file *file)
{
	const struct socket *socket;

	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	return (__u64)BPF_CORE_READ(socket, sk);
}

static __always_inline __u32 protocol_of(__u64 sk)
{
	__u32 family = BPF_CORE_READ(TO_SOCK(sk), __sk_common.skc_family);

	return family == AF_INET || family == AF_INET6 ? BPF_CORE_READ(TO_SOCK(sk), sk_protocol)
						       : 0;
}

static __always_inline bool is_connected(__u32 state)
{
	return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 ||
	       state == TCP_CLOSE_WAIT || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

static __noinline int learn(__u64 sk, __u32 pid)
{
	struct sonde_hash_listener l = {.pid = pid, .generation = sonde_seed_generation};
	struct sonde_hash_listener_key key = {};
	struct sonde_hash_listener *known;

	listener_key(sk, &key);
	if (bpf_map_update_elem(&sonde_listeners, &key, &l, BPF_NOEXIST) == 0)
		return 0;
	known = bpf_map_lookup_elem(&sonde_listeners, &key);
	if (!known)
		return lose(SONDE_TCP_LOSS_LISTENER_FULL, 1);
	known->generation = sonde_seed_generation;
	if (pid) /* a group: a target's share stays a target's */
		known->pid = pid;
	return 0;
}

static __noinline int seed_connected(__u64 sk, __u32 pid, __u32 state)
{
	struct sonde_hash_sock s = {.kind = SONDE_HASH_CONNECTION};
	struct sonde_hash_reading now = {};
	struct sonde_hash_listener *l;
	struct sonde_hash_cell *cell;

	s.key.pid = pid;
	s.key.role = SONDE_TCP_ROLE_CLIENT;
	write_key(sk, &s.key);
	l = listener_of(&s, local_port(sk));
	if (l && l->generation == sonde_seed_generation) {
		s.key.role = SONDE_TCP_ROLE_SERVER;
		s.key.port = local_port(sk);
	}
	s.id = bpf_ktime_get_ns();
	s.flags = SONDE_HASH_ESTABLISHED;
	read_socket(sk, &now);
	s.base.acked_raw = now.bytes_acked;
	s.base.received_raw = now.bytes_received - now.fin_arrived;
	s.base.sent_seq = now.write_seq;
	s.base.acked_seq = now.snd_una;
	s.base.received_seq = now.copied_seq;
	s.base.arrived_seq = now.rcv_nxt - now.fin_arrived;
	if (now.fin_arrived && (__s32)(s.base.received_seq - s.base.arrived_seq) > 0)
		s.base.received_seq = s.base.arrived_seq;
	s.base.segments_out = now.segments_out;
	s.base.segments_in = now.segments_in;
	s.base.retrans = now.retrans;
	s.kind_retrans = now.retrans;
	if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT) {
		s.base.sent_end = now.write_seq - 1;
		s.base.sent_seq = s.base.sent_end;
		if ((__s32)(s.base.acked_seq - s.base.sent_end) > 0) /* the FIN, too */
			s.base.acked_seq = s.base.sent_end;
		s.flags |= SONDE_HASH_FIN_SENT | SONDE_HASH_HALF_COUNTED;
		s.closer = SONDE_TCP_CLOSE_LOCAL_FIN + 1;
	}
	if (state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK)
		s.closer = SONDE_TCP_CLOSE_REMOTE_FIN + 1;
	if (!enter_sock(sk, &s))
		return 0;
	/* It ended before it was entered: no hook will see that again. */
	if (!is_connected(state_of(sk))) {
		forget_sock(sk);
		return 0;
	}
	cell = cell_of(&s.key);
	if (cell)
		add(&cell->cell.seeded, 1);
	sonde_seeded++;
	return 0;
}

static __noinline int seed_connecting(__u64 sk, __u32 pid)
{
	struct sonde_hash_sock s = {.kind = SONDE_HASH_CONNECTION};

	/* Nothing of it was counted yet: `opened` and its bytes follow. */
	s.key.pid = pid;
	s.key.role = SONDE_TCP_ROLE_CLIENT;
	write_key(sk, &s.key);
	s.id = bpf_ktime_get_ns();
	s.base.segments_out = BPF_CORE_READ(TO_TCP(sk), segs_out);
	s.base.retrans = BPF_CORE_READ(TO_TCP(sk), total_retrans);
	s.kind_retrans = s.base.retrans;
	enter_sock(sk, &s);
	return 0;
}

static __always_inline void seed_listener(__u64 sk, __u32 pid)
{
	__u32 waiting = BPF_CORE_READ(TO_SOCK(sk), sk_ack_backlog);

	begin_listen(sk, pid);
	learn(sk, pid);
	if (waiting)
		lose(SONDE_TCP_LOSS_ACCEPT_QUEUE, waiting);
}

static __always_inline void on_file(struct task_struct *task, const struct file *file)
{
	__u64 sk = sock_of(file);
	__u32 pid, protocol, state;
	bool first = false;

	/* With any file: a first socket may come later. */
	if (sonde_seed_pass == SONDE_HASH_SEED_ENTER)
		first = is_first_seed(task_pid(task), sonde_seed_generation);
	if (!sk)
		return;
	protocol = protocol_of(sk);
	if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_MPTCP)
		return;
	state = state_of(sk);
	if (sonde_seed_pass == SONDE_HASH_SEED_LEARN && state != TCP_LISTEN)
		return;
	pid = task_pid(task);
	if (!is_target(pid))
		pid = 0;
	if (protocol == PROTOCOL_MPTCP) {
		if (pid && first)
			lose(SONDE_TCP_LOSS_UNTRACKED_MPTCP, 1);
		return;
	}
	if (sonde_seed_pass == SONDE_HASH_SEED_LEARN) {
		learn(sk, pid);
		return;
	}
	if (!pid || find_sock(sk))
		return;
	if (state == TCP_LISTEN)
		seed_listener(sk, pid);
	else if (is_connected(state))
		seed_connected(sk, pid, state);
	else if (state == TCP_SYN_SENT)
		seed_connecting(sk, pid);
}
