/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * How we come to follow a connection: its tag is made at connect or listen, inherited
 * by a listener's child, and filled when it is established.
 */

/* After everything else of the tag is written. */
static __always_inline void publish(struct sonde_tag *tag, __u32 kind)
{
	__sync_lock_test_and_set(&tag->kind, kind);
}

/* connect(2) or listen(2): the current task is the owner, if it is a target. */
static __noinline int tag_new(struct sock *sk, int state, __u32 life)
{
	struct sonde_tag *tag;
	__u32 pid = current_target();

	if (!pid)
		return 0;
	if (sk->sk_protocol != PROTOCOL_TCP) {
		if (sk->sk_protocol == PROTOCOL_MPTCP)
			lose(SONDE_TCP_LOSS_UNTRACKED_MPTCP, 1);
		return 0;
	}
	tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!tag) {
		lose(SONDE_TCP_LOSS_TAG_FAILED, 1);
		return 0;
	}
	write_identity(tag, &sk->__sk_common);
	tag->pid = pid;
	if (state == TCP_LISTEN) {
		tag->role = SONDE_TCP_ROLE_SERVER;
		tag->listen_drops = sk->sk_drops.counter;
		publish(tag, TAG_LISTENER);
		return 0;
	}
	tag->role = SONDE_TCP_ROLE_CLIENT;
	tag->lport = 0; /* an auto-bound client has none yet, an older one may be stale */
	tag->start_ns = bpf_ktime_get_ns();
	tag->life = life;
	publish(tag, TAG_CONNECTION);
	return 0;
}

/* A tag that a clone inherited: only now is it known to be a child's. */
static __always_inline void begin_child(struct sonde_tag *tag)
{
	tag->flags = TAG_PROVISIONAL;
	tag->listen_drops = 0; /* the listener's */
	publish(tag, TAG_CONNECTION);
}

SHARED int begin_connection(struct sonde_tag *tag, const struct reading *now, bool seen)
{
	struct sonde_tcp_cell *cell;
	__u32 index = 0;
	__u64 us = 0;

	if (!tag || !now)
		return 0;
	if (tag->role == SONDE_TCP_ROLE_SERVER) {
		tag->peer_pid = tuple_peer(tag);
		tag->handshake_us = seen ? synack_us(now->srtt_us, now->total_retrans) : 0;
		tag->start_ns = bpf_ktime_get_ns();
	}
	base_new(now, tag); /* behind the key: from here on a snapshot looks for the cell */
	if (tag->role == SONDE_TCP_ROLE_SERVER) {
		tuple_enter(tag); /* for drops that know no socket */
		__sync_fetch_and_or(&tag->flags, TAG_ACCEPT_WAITS);
		return 0;
	}
	tuple_enter(tag); /* before our ACK lets the server's end look for it */
	cell = tag_cell(tag, &index);
	if (!cell)
		return 0;
	if (tag->start_ns && seen)
		us = (bpf_ktime_get_ns() - tag->start_ns) / 1000 ?: 1;
	add(&cell->opened, 1);
	handshake_add(index, us > 0xffffffff ? 0xffffffff : us);
	return 0;
}

/* @seen: this is the event itself, so times since then are those of the handshake. */
static __noinline int established(struct sock *sk, struct sonde_tag *tag, bool seen)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct reading now = {};

	if (!tp || __sync_fetch_and_or(&tag->flags, TAG_ESTABLISHED) & TAG_ESTABLISHED)
		return 0;
	add(&sonde_begun, 1); /* behind the flag: who is counted is met */
	write_identity(tag, &sk->__sk_common);
	read_socket(sk, tp, tag, &now);
	begin_connection(tag, &now, seen);
	if (seen)
		call_waits(sk, tag);
	return 0;
}

/*
 * The kernel skips a program that was interrupted on its CPU, so an event may not
 * have been seen. A socket's state is stored after its event: one that is
 * established without our mark was missed, and is made up for at its next event,
 * I/O or snapshot, without its handshake time.
 */
static __always_inline void make_up(struct sock *sk, struct sonde_tag *tag)
{
	__u32 state = sk->__sk_common.skc_state;

	if (tag->flags & TAG_ESTABLISHED)
		return;
	if (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT)
		established(sk, tag, false);
}

/* The connection's tag, or NULL, for what is no change of its state. A listener's tag on what does not listen was cloned, and the child's birth missed. */
static __always_inline struct sonde_tag *connection_tag(struct sock *sk)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	__u32 state;

	if (!tag || tag->kind == TAG_CONNECTION)
		return tag;
	if (tag->kind != TAG_LISTENER)
		return mark_stale(tag, 0) ? NULL : tag;
	state = sk->__sk_common.skc_state;
	if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
		return NULL;
	begin_child(tag);
	return tag;
}
