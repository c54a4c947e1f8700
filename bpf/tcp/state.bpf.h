/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * A socket's life: tagged at connect or listen, inherited by a listener's child,
 * established (begin.bpf.h), closed (close.bpf.h), destroyed. Only connect, listen and I/O run in the task
 * that does them; everything else may run in softirq, where current is anybody.
 */

/* ESTABLISHED ends: tcp_probe will not see the sample that is pending. */
static __always_inline void leave_established(struct sock *sk, struct sonde_tag *tag)
{
	struct tcp_sock *tp;

	if (tag->flags & TAG_RTT_SOCKOPS)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	take_pending_rtt(tp, tag);
	tag->blind_delivered = tp->delivered;
}

/* Behind ESTABLISHED. Not above established() on the stack: their readings together do not fit in 512 bytes. */
static __noinline int tagged_state(struct sock *sk, struct sonde_tag *tag, int old, int state)
{
	if (old == TCP_ESTABLISHED)
		leave_established(sk, tag);
	switch (state) {
	case TCP_FIN_WAIT1:
		payload_ends(sk, tag, 0);
		if (!tag->closer)
			tag->closer = SONDE_TCP_CLOSE_LOCAL_FIN + 1;
		half_closed(sk, tag);
		break;
	case TCP_CLOSING:
		if (tag->closer == SONDE_TCP_CLOSE_LOCAL_FIN + 1)
			tag->closer = SONDE_TCP_CLOSE_BOTH + 1;
		close_if_shut(sk, tag);
		break;
	case TCP_FIN_WAIT2:
		close_if_shut(sk, tag);
		break;
	case TCP_CLOSE_WAIT:
		if (!tag->closer)
			tag->closer = SONDE_TCP_CLOSE_REMOTE_FIN + 1;
		break;
	case TCP_LAST_ACK:
		payload_ends(sk, tag, 0);
		count_close(tag, SONDE_TCP_CLOSE_REMOTE_FIN);
		break;
	case TCP_CLOSE:
		closed(sk, tag, old);
		break;
	}
	return 0;
}

static __always_inline void on_state(struct sock *sk, int old, int state)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	__u32 life = 0;

	if (tag && tag->kind == TAG_LISTENER &&
	    (old == TCP_SYN_RECV || (old == TCP_LISTEN && state == TCP_SYN_RECV)))
		begin_child(tag);
	if (state == TCP_SYN_SENT || state == TCP_LISTEN) {
		/* A new life of the socket; its earlier one was folded at -> CLOSE. */
		if (tag && tag->kind == TAG_CONNECTION) {
			life = tag->life + 1;
			if (sonde_flows_wanted)
				end_flow(tag, NULL, bpf_get_socket_cookie(sk));
		}
		if (tag) {
			end_connection(tag);
			bpf_sk_storage_delete(&sonde_tags, sk);
		}
		if (state == TCP_SYN_SENT)
			call_sends_syn();
		tag_new(sk, state, life);
		return;
	}
	if (tag && tag->kind == TAG_LISTENER)
		tag = connection_tag(sk);
	if (!tag)
		return;
	if (tag->kind != TAG_CONNECTION) {
		if (state == TCP_FIN_WAIT1 || state == TCP_LAST_ACK)
			payload_ends(sk, tag, 0);
		if (mark_stale(tag, state))
			return;
	}
	if (state == TCP_ESTABLISHED) {
		established(sk, tag, true);
	} else {
		make_up(sk, tag);
		tagged_state(sk, tag, old, state);
	}
	call_closes(sk, tag);
}

static __always_inline void take_off(struct sock *sk, struct sonde_tag *tag)
{
	tuple_leave(tag);
	end_connection(tag);
	bpf_sk_storage_delete(&sonde_tags, sk);
}

static __always_inline void last_fold(struct sock *sk, struct sonde_tag *tag)
{
	if (!tag->closer && tag->flags & TAG_ESTABLISHED)
		tag->closer = abrupt_closer(sk, tag) + 1;
	if ((tag->flags & (TAG_ESTABLISHED | TAG_CLOSE_COUNTED)) == TAG_ESTABLISHED)
		count_close(tag, tag->closer - 1U);
	call_closes(sk, tag);
	call_waits_no_more(sk);
	flow_end(sk, tag);
	fold(sk, tag, true);
}

/*
 * The end: after this nothing of the socket is counted.
 *
 * The tag is deleted here, and not left to the kernel: 7.x clears an element's way to
 * its owner when a socket is freed, and iter/bpf_sk_storage_map follows it without
 * looking again (measured: a NULL dereference in the kernel within a second of closes).
 * This hook runs with bottom halves off, so its run is never skipped.
 */
static __always_inline void on_destroy(struct sock *sk)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);

	if (!tag)
		return;
	if (tag->kind == TAG_LISTENER)
		fold_listener(sk, tag, true);
	else if (tag->kind == TAG_CONNECTION && !ended_before_seed(tag))
		last_fold(sk, tag);
	take_off(sk, tag);
}

#define EE_ORIGIN_ICMP 2
#define EE_ORIGIN_ICMP6 3

/* Of the ICMP message that was put last into the socket's error queue; 0 = there is none. */
static __always_inline __u32 queued_errno(const struct sock *sk)
{
	const struct sk_buff *skb = sk->sk_error_queue.prev;
	const struct sock_exterr_skb *error = (void *)skb->cb;
	__u8 origin;

	if ((const void *)skb == &sk->sk_error_queue)
		return 0;
	origin = BPF_CORE_READ(error, ee.ee_origin);
	return origin == EE_ORIGIN_ICMP || origin == EE_ORIGIN_ICMP6
		       ? BPF_CORE_READ(error, ee.ee_errno)
		       : 0;
}

/*
 * An ICMP message that comes while connect(2) has the socket does not end the connect:
 * the application is told by poll(2), SO_ERROR or the error queue, and the SYN goes out
 * again unless it gives up.
 */
static __always_inline void on_error(struct sock *sk)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);

	if (tag && tag->kind == TAG_CONNECTION && tag->role == SONDE_TCP_ROLE_CLIENT &&
	    sk->__sk_common.skc_state == TCP_SYN_SENT)
		tag->connect_errno = sk->sk_err ?: queued_errno(sk);
}

#define RESET_WITHOUT_REASON (~0U)
static __always_inline void on_reset(struct sock *sk, bool received, __u32 reason)
{
	struct sonde_tag *tag = bpf_sk_storage_get(&sonde_tags, sk, NULL, 0);
	struct sonde_tcp_cell *cell;
	__u32 index;
	bool ends;

	if (!sk || !tag)
		return;
	/* One that came ends the connection: -> CLOSE follows. One that is sent may come behind it. */
	ends = received || sk->__sk_common.skc_state == TCP_CLOSE;
	if (tag->kind != TAG_CONNECTION &&
	    (tag->kind == TAG_LISTENER || mark_stale(tag, ends ? TCP_CLOSE : 0)))
		return;
	if (!received && ends && ended_before_seed(tag)) {
		take_off(sk, tag);
		return;
	}
	if (received)
		__sync_fetch_and_or(&tag->flags, TAG_RST_RECEIVED);
	cell = tag_cell(tag, &index);
	if (cell)
		add(received ? &cell->resets_received : &cell->resets_sent, 1);
	if (cell && reason != RESET_WITHOUT_REASON)
		count_reset_reason(index, reason);
}
