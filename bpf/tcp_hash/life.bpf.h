/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * A socket's life, as bpf/tcp/state.bpf.h has it, under the socket's lock: so an
 * entry is written without atomics. A listener's child is found by where it listens,
 * and stays its listener's: nothing here tells of the first I/O.
 */

#define PROTOCOL_TCP 6
#define PROTOCOL_MPTCP 262
#define SHUTDOWN_BOTH 3 /* RCV_SHUTDOWN | SEND_SHUTDOWN */

static __always_inline void add_counts(struct sonde_tcp_cell *cell,
				       const struct sonde_hash_counts *n)
{
	add(&cell->sent_bytes, n->sent);
	add(&cell->acked_bytes, n->acked);
	add(&cell->received_bytes, n->received);
	add(&cell->arrived_bytes, n->arrived);
	add(&cell->segments_out, n->segments_out);
	add(&cell->segments_in, n->segments_in);
	add(&cell->retransmitted_segments, n->retrans);
}

/* Into the sums of its cell; the entry has only its rest from here on. */
static __noinline int fold(__u64 sk, struct sonde_hash_sock *s)
{
	struct sonde_hash_cell *cell = cell_of(&s->key);
	struct sonde_hash_reading now = {};
	struct sonde_hash_counts counts;

	if (!cell)
		return 0;
	read_socket(sk, &now);
	s->base.rest_seq = now.copied_seq;
	s->base.rest_raw = now.bytes_received;
	add(&cell->begun, 1);
	*(volatile __u32 *)&s->flags |= SONDE_HASH_CLOSED;
	sonde_hash_count(&now, &s->base, s->flags, &counts);
	add_counts(&cell->cell, &counts);
	add(&cell->finished, 1);
	return 0;
}

/* At the end of an entry that was folded at its -> CLOSE. */
static __noinline int fold_rest(__u64 sk, const struct sonde_hash_sock *s)
{
	struct sonde_hash_cell *cell = cell_of(&s->key);
	struct sonde_hash_reading now = {};

	if (!cell)
		return 0;
	read_socket(sk, &now);
	add(&cell->begun, 1);
	add(&cell->cell.received_bytes, sonde_hash_rest(&now, &s->base, s->flags));
	add(&cell->finished, 1);
	return 0;
}

static __noinline int count_close(struct sonde_hash_sock *s, __u32 how)
{
	struct sonde_hash_cell *cell;

	if (how >= SONDE_TCP_CLOSE_MAX || s->flags & SONDE_HASH_CLOSE_COUNTED)
		return 0;
	s->flags |= SONDE_HASH_CLOSE_COUNTED;
	cell = cell_of(&s->key);
	if (cell)
		add(&cell->cell.closed[how], 1);
	return 0;
}

static __always_inline void set_base(struct sonde_hash_sock *s,
				     const struct sonde_hash_reading *now)
{
	/* bytes_acked counts our SYN; a socket under TCP_REPAIR is established without one */
	__u32 syn = s->key.role == SONDE_TCP_ROLE_CLIENT && now->bytes_acked > 0;

	s->base.acked_raw = syn;
	s->base.acked_seq = now->snd_una - (__u32)now->bytes_acked + syn;
	s->base.sent_seq = s->base.acked_seq;
	s->base.received_raw = 0;
	s->base.arrived_seq = now->rcv_nxt - (__u32)now->bytes_received;
	s->base.received_seq = s->base.arrived_seq;
	if (s->key.role == SONDE_TCP_ROLE_SERVER) {
		/* The request's SYN-ACKs: counted at the listener when they happened. */
		s->base.retrans = now->retrans;
		s->kind_retrans = now->retrans;
	}
	s->flags |= SONDE_HASH_ESTABLISHED;
}

static __noinline int client_established(__u64 sk, struct sonde_hash_sock *s)
{
	struct sonde_hash_reading now = {};
	struct sonde_hash_cell *cell;
	__u64 us;

	read_socket(sk, &now);
	write_key(sk, &s->key);
	set_base(s, &now);
	cell = cell_of(&s->key);
	if (!cell)
		return 0;
	add(&cell->cell.opened, 1);
	us = (bpf_ktime_get_ns() - s->start_ns) / 1000 ?: 1;
	return handshake_add(s, us > 0xffffffff ? 0xffffffff : us);
}

/* Not seen before: a child of a listener, perhaps of a target's. */
static __noinline int server_established(__u64 sk)
{
	struct sonde_hash_sock s = {.kind = SONDE_HASH_CONNECTION};
	struct sonde_hash_reading now = {};
	struct sonde_hash_listener *l;
	struct sonde_hash_cell *cell;

	s.key.role = SONDE_TCP_ROLE_SERVER;
	write_key(sk, &s.key);
	l = listener_of(&s, s.key.port);
	if (!l)
		return 0;
	s.key.pid = l->pid;
	if (!is_target(s.key.pid))
		return 0;
	s.id = bpf_ktime_get_ns();
	read_socket(sk, &now);
	set_base(&s, &now);
	if (!enter_sock(sk, &s))
		return 0;
	cell = cell_of(&s.key);
	if (!cell)
		return 0;
	add(&cell->cell.accepted, 1);
	return handshake_add(&s, synack_us(now.srtt_us, now.retrans));
}

static __noinline int begin_connect(__u64 sk)
{
	struct sonde_hash_sock s = {.kind = SONDE_HASH_CONNECTION};

	s.key.pid = current_target();
	if (!s.key.pid)
		return 0;
	s.key.role = SONDE_TCP_ROLE_CLIENT;
	write_key(sk, &s.key);
	s.start_ns = bpf_ktime_get_ns();
	s.id = s.start_ns;
	enter_sock(sk, &s);
	return 0;
}

/* Once a socket: leave_listeners() takes it off again. */
static __noinline int join_listeners(__u64 sk, __u32 pid)
{
	struct sonde_hash_listener fresh = {.pid = pid, .members = 1};
	struct sonde_hash_listener_key key = {};
	struct sonde_hash_listener *l;

	listener_key(sk, &key);
	if (bpf_map_update_elem(&sonde_listeners, &key, &fresh, BPF_NOEXIST) == 0)
		return 0;
	l = bpf_map_lookup_elem(&sonde_listeners, &key);
	if (!l)
		return lose(SONDE_TCP_LOSS_LISTENER_FULL, 1);
	l->pid = pid;
	add(&l->members, 1);
	return 0;
}

static __noinline int begin_listen(__u64 sk, __u32 pid)
{
	struct sonde_hash_sock s = {.kind = SONDE_HASH_LISTENER};

	s.key.pid = pid;
	s.key.role = SONDE_TCP_ROLE_SERVER;
	write_key(sk, &s.key);
	s.lport = s.key.port;
	s.id = bpf_ktime_get_ns();
	if (enter_sock(sk, &s))
		join_listeners(sk, pid);
	return 0;
}

static __always_inline void connect_failed(__u64 sk, const struct sonde_hash_sock *s)
{
	__u32 error = connect_error_of(BPF_CORE_READ(TO_SOCK(sk), sk_err),
				       BPF_CORE_READ(TO_TCP(sk), segs_out));
	struct sonde_hash_cell *cell = cell_of(&s->key);

	if (cell && error < SONDE_TCP_CONNECT_ERROR_MAX)
		add(&cell->cell.connect_failed[error], 1);
}

/* Without a FIN first: a reset by either end, or an error such as a time-out. */
static __always_inline __u32 abrupt_closer(__u64 sk, const struct sonde_hash_sock *s)
{
	__u32 error = BPF_CORE_READ(TO_SOCK(sk), sk_err);

	if (s->flags & SONDE_HASH_RST_RECEIVED)
		return SONDE_TCP_CLOSE_REMOTE_RST;
	return error && error != ERR_CONNABORTED ? SONDE_TCP_CLOSE_ERROR
						 : SONDE_TCP_CLOSE_LOCAL_RST;
}

static __always_inline __u32 first_closer(__u64 sk, const struct sonde_hash_sock *s)
{
	return s->closer ? s->closer - 1 : abrupt_closer(sk, s);
}

/* A retransmit whose run was skipped has no kind, but is one. */
static __noinline int count_retransmit(__u64 sk, struct sonde_hash_sock *s, __u32 kind)
{
	__u32 total = BPF_CORE_READ(TO_TCP(sk), total_retrans);
	__u32 grown = total - s->kind_retrans;
	struct sonde_hash_cell *cell;

	if (!grown || kind >= SONDE_TCP_RETRANSMIT_MAX)
		return 0;
	s->kind_retrans = total;
	cell = cell_of(&s->key);
	if (cell)
		add(&cell->cell.retransmit[kind], grown);
	return 0;
}

static __noinline int closed(__u64 sk, struct sonde_hash_sock *s)
{
	if (s->flags & SONDE_HASH_CLOSED)
		return 0;
	if (s->flags & SONDE_HASH_ESTABLISHED)
		count_close(s, first_closer(sk, s));
	else if (s->key.role == SONDE_TCP_ROLE_CLIENT)
		connect_failed(sk, s);
	count_retransmit(sk, s, SONDE_TCP_RETRANSMIT_OTHER);
	return fold(sk, s);
}

/* Our FIN follows: write_seq is the end of the payload. */
static __always_inline void fin_follows(__u64 sk, struct sonde_hash_sock *s)
{
	if (s->flags & SONDE_HASH_FIN_SENT)
		return;
	s->base.sent_end = BPF_CORE_READ(TO_TCP(sk), write_seq);
	s->flags |= SONDE_HASH_FIN_SENT;
}

static __always_inline bool is_shut(__u64 sk)
{
	return BPF_CORE_READ(TO_SOCK(sk), sk_shutdown) == SHUTDOWN_BOTH;
}

static __always_inline void close_if_shut(__u64 sk, struct sonde_hash_sock *s)
{
	if (s->closer && is_shut(sk))
		count_close(s, s->closer - 1);
}

static __always_inline void half_closed(__u64 sk, struct sonde_hash_sock *s)
{
	struct sonde_hash_cell *cell;

	if (is_shut(sk) || s->flags & SONDE_HASH_HALF_COUNTED)
		return;
	s->flags |= SONDE_HASH_HALF_COUNTED;
	cell = cell_of(&s->key);
	if (cell)
		add(&cell->cell.half_closed, 1);
}

static __noinline int connection_state(__u64 sk, struct sonde_hash_sock *s, int state)
{
	switch (state) {
	case TCP_ESTABLISHED:
		if (!(s->flags & SONDE_HASH_ESTABLISHED))
			client_established(sk, s);
		break;
	case TCP_FIN_WAIT1:
		fin_follows(sk, s);
		if (!s->closer)
			s->closer = SONDE_TCP_CLOSE_LOCAL_FIN + 1;
		half_closed(sk, s);
		break;
	case TCP_CLOSING:
		if (s->closer == SONDE_TCP_CLOSE_LOCAL_FIN + 1)
			s->closer = SONDE_TCP_CLOSE_BOTH + 1;
		close_if_shut(sk, s);
		break;
	case TCP_FIN_WAIT2:
		close_if_shut(sk, s);
		break;
	case TCP_CLOSE_WAIT:
		if (!s->closer)
			s->closer = SONDE_TCP_CLOSE_REMOTE_FIN + 1;
		break;
	case TCP_LAST_ACK:
		fin_follows(sk, s);
		count_close(s, SONDE_TCP_CLOSE_REMOTE_FIN);
		break;
	case TCP_CLOSE:
		closed(sk, s);
		break;
	}
	return 0;
}

/* The last member that goes takes the entry with it. */
static __always_inline void leave_listeners(__u64 sk, const struct sonde_hash_sock *s)
{
	struct sonde_hash_listener_key key = {};
	struct sonde_hash_listener *l;

	listener_key(sk, &key);
	key.port = s->lport; /* the socket's own is gone by now */
	l = bpf_map_lookup_elem(&sonde_listeners, &key);
	if (!l)
		return;
	if (l->members)
		add(&l->members, -1);
	if (!*(volatile __u64 *)&l->members)
		bpf_map_delete_elem(&sonde_listeners, &key);
}

static __always_inline void end_sock(__u64 sk, struct sonde_hash_sock *s)
{
	if (s->kind == SONDE_HASH_LISTENER) {
		leave_listeners(sk, s);
	} else if (s->flags & SONDE_HASH_CLOSED) {
		fold_rest(sk, s);
	} else {
		if (s->flags & SONDE_HASH_ESTABLISHED)
			count_close(s, first_closer(sk, s));
		fold(sk, s);
	}
	forget_sock(sk);
}

static __always_inline void on_state(__u64 sk, __u32 protocol, int old, int state)
{
	struct sonde_hash_sock *s = find_sock(sk);
	__u32 pid;

	if (state == TCP_SYN_SENT || state == TCP_LISTEN) {
		if (s)
			end_sock(sk, s); /* a new life of the socket */
		if (protocol == PROTOCOL_MPTCP && current_target())
			lose(SONDE_TCP_LOSS_UNTRACKED_MPTCP, 1);
		if (protocol != PROTOCOL_TCP)
			return;
		if (state == TCP_SYN_SENT) {
			begin_connect(sk);
			return;
		}
		pid = current_target();
		if (pid)
			begin_listen(sk, pid);
		return;
	}
	if (s && s->kind == SONDE_HASH_CONNECTION)
		connection_state(sk, s, state);
	else if (!s && old == TCP_SYN_RECV && state == TCP_ESTABLISHED && protocol == PROTOCOL_TCP)
		server_established(sk);
}

static __always_inline void on_destroy(__u64 sk)
{
	struct sonde_hash_sock *s = find_sock(sk);

	if (s)
		end_sock(sk, s);
}

static __always_inline void on_retransmit(__u64 sk)
{
	struct sonde_hash_sock *s = find_sock(sk);
	const struct tcp_sock *tp = TO_TCP(sk);

	if (s && s->kind == SONDE_HASH_CONNECTION)
		count_retransmit(sk, s,
				 retransmit_kind_of(
					 state_of(sk),
					 BPF_CORE_READ_BITFIELD_PROBED(tp, inet_conn.icsk_ca_state),
					 BPF_CORE_READ(tp, inet_conn.icsk_pending)));
}

static __always_inline void on_retransmit_synack(__u64 sk, const struct request_sock *req)
{
	struct sonde_hash_sock *s = find_sock(sk);
	struct sonde_tcp_cell_key key = {};
	struct sonde_hash_cell *cell;

	if (!s || s->kind != SONDE_HASH_LISTENER)
		return;
	key = s->key;
	read_addresses_of((__u64)&req->__req_common, key.laddr, key.raddr);
	cell = cell_of(&key);
	if (!cell)
		return;
	add(&cell->cell.retransmit[SONDE_TCP_RETRANSMIT_SYNACK], 1);
	add(&cell->cell.retransmitted_segments, 1);
}

static __always_inline void on_reset(__u64 sk, bool received)
{
	struct sonde_hash_sock *s = find_sock(sk);
	struct sonde_hash_cell *cell;

	if (!s || s->kind != SONDE_HASH_CONNECTION)
		return;
	if (received)
		s->flags |= SONDE_HASH_RST_RECEIVED;
	cell = cell_of(&s->key);
	if (cell)
		add(received ? &cell->cell.resets_received : &cell->cell.resets_sent, 1);
}
