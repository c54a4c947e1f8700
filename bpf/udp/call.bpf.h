/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Calls: counted when they return, in the caller's own cells, so that a socket that
 * several processes share is each one's for what it does with it.
 */

#define MSG_PEEK_FLAG 0x2
#define MSG_ERRQUEUE_FLAG 0x2000
#define RCV_SHUTDOWN_BIT 1

#define EPERM 1
#define EINTR 4
#define EAGAIN 11
#define EINVAL 22
#define EMSGSIZE 90
#define ENETUNREACH 101
#define ENOBUFS 105
#define ECONNREFUSED 111
#define EHOSTUNREACH 113
#define ERESTARTSYS 512 /* this and some above: the call is made again, or is EINTR */

struct call {
	struct sonde_udp_tag *tag;
	__u32 pid;
	struct udp_peer peer;
};

/* False: nothing of ours. @role: what a first call makes of an unconnected socket. */
static __always_inline bool begin_call(struct sock *sk, __u8 role, struct call *call)
{
	call->pid = current_target();
	if (!call->pid)
		return false;
	call->tag = tag_of(sk);
	if (!call->tag)
		call->tag = tag_new(sk, call->pid, false);
	if (!call->tag)
		return false;
	take_named(sk, &call->peer);
	if (!call->peer.known)
		connected_peer(sk, &call->peer);
	find_role(sk, call->tag, role);
	return true;
}

static __always_inline __u32 error_slot(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return SONDE_UDP_ECONNREFUSED;
	case EAGAIN:
		return SONDE_UDP_EAGAIN;
	case EMSGSIZE:
		return SONDE_UDP_EMSGSIZE;
	case ENETUNREACH:
		return SONDE_UDP_ENETUNREACH;
	case EHOSTUNREACH:
		return SONDE_UDP_EHOSTUNREACH;
	case EPERM:
		return SONDE_UDP_EPERM;
	case ENOBUFS:
		return SONDE_UDP_ENOBUFS;
	case EINVAL:
		return SONDE_UDP_EINVAL;
	default:
		return SONDE_UDP_EOTHER;
	}
}

/* No failure: the call is made again, or the caller's signal ended it. */
static __always_inline bool is_interrupted(int error)
{
	return error == EINTR || (error >= ERESTARTSYS && error < ERESTARTSYS + 5);
}

struct udp_sock___before_6_7 {
	unsigned int corkflag;
} __attribute__((preserve_access_index));

/* The socket option UDP_CORK is on. */
static __always_inline bool is_corked(const struct udp_sock *up)
{
	if (bpf_core_field_exists(up->udp_flags))
		return BPF_CORE_READ(up, udp_flags) & 1UL << UDP_FLAGS_CORK;
	return BPF_CORE_READ((struct udp_sock___before_6_7 *)up, corkflag);
}

/*
 * How many datagrams went out by a send of @n bytes that is over. With MSG_MORE or
 * UDP_CORK the kernel gathers several into one; taking UDP_CORK off sends it too,
 * which no hook sees: it is counted with the next send.
 */
static __always_inline __u64 count_out(struct sock *sk, struct sonde_udp_tag *tag, __u32 n)
{
	struct udp_sock *up = (struct udp_sock *)sk;
	__u8 was = tag->cork;
	bool begun;

	if (!BPF_CORE_READ(up, pending)) {
		tag->cork = CORK_NONE;
		return was == CORK_SOCKET ? 2 : 1;
	}
	begun = BPF_CORE_READ(up, len) == n + sizeof(struct udphdr);
	tag->cork = is_corked(up) ? CORK_SOCKET : CORK_CALL;
	return begun && was != CORK_NONE;
}

static __always_inline void on_send(struct sock *sk, int ret)
{
	struct sonde_udp_cell *cell;
	struct call call = {};
	__u64 datagrams, took_ns;

	if (!is_udp(sk) || !begin_call(sk, SONDE_TCP_ROLE_CLIENT, &call))
		return;
	if (ret < 0 && is_interrupted(-ret))
		return;
	cell = udp_cell(sk, call.tag, call.pid, &call.peer);
	if (!cell)
		return;
	if (ret < 0) {
		call.tag->cork = CORK_NONE; /* what was gathered is thrown away */
		add(&cell->send_errors[error_slot(-ret)], 1);
		return;
	}
	if (call.peer.known)
		enter_end(sk, call.tag, call.peer.addr);
	add(&cell->write_calls, 1);
	took_ns = call_ns();
	if (took_ns) {
		add(&cell->write_timed_calls, 1);
		add(&cell->write_time_ns, took_ns);
	}
	add(&cell->sent_bytes, ret);
	datagrams = count_out(sk, call.tag, ret);
	add(&cell->sent_datagrams, datagrams);
	flow_sent(sk, call.tag, call.pid, &call.peer, ret, datagrams);
	if (!call.peer.known)
		lose(SONDE_UDP_LOSS_PEER_UNKNOWN, 1);
}

/* Takes nothing off the queue, or nothing that was a datagram. */
static __always_inline bool is_no_read(const struct sock *sk, int ret, int flags)
{
	if (flags & (MSG_PEEK_FLAG | MSG_ERRQUEUE_FLAG))
		return true;
	if (ret < 0)
		return ret == -EAGAIN || is_interrupted(-ret);
	return ret == 0 && sk->sk_shutdown & RCV_SHUTDOWN_BIT;
}

static __always_inline void on_recv(struct sock *sk, int ret, int flags)
{
	struct sonde_udp_cell *cell;
	struct call call = {};
	__u64 took_ns;

	if (!is_udp(sk) || is_no_read(sk, ret, flags) ||
	    !begin_call(sk, SONDE_TCP_ROLE_SERVER, &call))
		return;
	cell = udp_cell(sk, call.tag, call.pid, &call.peer);
	if (!cell)
		return;
	if (ret < 0) {
		add(&cell->receive_errors[error_slot(-ret)], 1);
		return;
	}
	add(&cell->read_calls, 1);
	took_ns = call_ns();
	if (took_ns) {
		add(&cell->read_timed_calls, 1);
		add(&cell->read_time_ns, took_ns);
	}
	add(&cell->received_datagrams, 1);
	add(&cell->received_bytes, ret);
	flow_received(sk, call.tag, call.pid, &call.peer, ret);
	if (!call.peer.known)
		lose(SONDE_UDP_LOSS_PEER_UNKNOWN, 1);
}

/* The tracepoints at the end of a call are attached: what knows only the address does not count. */
const volatile bool sonde_send_counts = true;
const volatile bool sonde_recv_counts = true;

static __always_inline void on_sendmsg(struct sock *sk, const struct msghdr *msg, int ret,
				       __u16 family)
{
	bool inner = sk->__sk_common.skc_family != family;

	/* By the outer one's end the address that it mapped for the inner one is gone. */
	if (inner || !is_named(sk))
		on_message(sk, msg);
	if (!inner && !sonde_send_counts)
		on_send(sk, ret);
}

static __always_inline void on_recvmsg(struct sock *sk, const struct msghdr *msg, int flags,
				       int ret)
{
	if (ret >= 0)
		on_message(sk, msg);
	if (!sonde_recv_counts)
		on_recv(sk, ret, flags);
}
