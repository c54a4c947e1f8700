/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * A socket's life: tagged at connect or listen, inherited by a listener's child,
 * established, closed, destroyed. Only connect, listen and I/O run in the task
 * that does them; everything else may run in softirq, where current is anybody.
 */

#define SHUTDOWN_BOTH 3 /* RCV_SHUTDOWN | SEND_SHUTDOWN */
#define MSG_PEEK_FLAG 2

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

/*
 * Connections are counted where we begin and where we cease to follow them. What
 * began and neither ended nor is met by a snapshot has ended unseen; user space
 * takes the difference. TAG_ENDED follows the count, so that a snapshot finds a
 * connection in one of the two at least.
 */
static __always_inline void end_connection(struct sonde_tag *tag)
{
	if (!(tag->flags & TAG_ESTABLISHED) ||
	    __sync_fetch_and_or(&tag->flags, TAG_ENDING) & TAG_ENDING)
		return;
	add(&sonde_ended, 1);
	__sync_fetch_and_or(&tag->flags, TAG_ENDED);
}

/* A tag that a clone inherited: only now is it known to be a child's. */
static __always_inline void begin_child(struct sonde_tag *tag)
{
	tag->flags = TAG_PROVISIONAL;
	tag->listen_drops = 0; /* the listener's */
	publish(tag, TAG_CONNECTION);
}

SHARED int count_close(struct sonde_tag *tag, __u32 how)
{
	struct sonde_tcp_cell *cell;
	__u32 index = 0;

	if (!tag || how >= SONDE_TCP_CLOSE_MAX ||
	    __sync_fetch_and_or(&tag->flags, TAG_CLOSE_COUNTED) & TAG_CLOSE_COUNTED)
		return 0;
	cell = tag_cell(tag, &index);
	if (!cell)
		return 0;
	add(&cell->closed[how], 1);
	if (tag->start_ns)
		age_add(index, (bpf_ktime_get_ns() - tag->start_ns) / 1000000);
	else
		add(&cell->age_unknown, 1);
	return 0;
}

/*
 * The application closed both ways and the first closer is known. Not at
 * -> FIN_WAIT1 itself: a CLOSING right behind it would make it a close by both.
 */
static __always_inline void close_if_shut(const struct sock *sk, struct sonde_tag *tag)
{
	if (tag->closer && sk->sk_shutdown == SHUTDOWN_BOTH)
		count_close(tag, tag->closer - 1);
}

/*
 * SYN-ACK to ACK; 0 = not known. Behind a SYN cookie it comes from the timestamp option,
 * whose low six bits were the cookie's: up to 64 ms too long. Such a time is whole
 * milliseconds, which of the others one in a thousand is; those of a SYN-ACK that was
 * sent again are, too, and true.
 */
static __always_inline __u32 synack_us(const struct reading *now)
{
	__u32 us = now->srtt_us >> 3;

	return us % 1000 == 0 && !now->total_retrans ? 0 : us;
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
		tag->handshake_us = seen ? synack_us(now) : 0;
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

static __always_inline __u32 connect_error(const struct sock *sk, const struct sonde_tag *tag)
{
	const struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);

	/* An error that did not end the connect: the application was told, took it and gave up. */
	return connect_error_of(sk->sk_err ?: tag->connect_errno, tp && tp->segs_out);
}

static __always_inline void connect_failed(const struct sock *sk, struct sonde_tag *tag)
{
	__u32 index, error = connect_error(sk, tag);
	struct sonde_tcp_cell *cell = tag_cell(tag, &index);

	tag->error = error + 1;
	if (cell && error < SONDE_TCP_CONNECT_ERROR_MAX)
		add(&cell->connect_failed[error], 1);
}

/* Without a FIN first: a reset by either end, or an error such as a time-out. */
static __always_inline __u32 abrupt_closer(const struct sock *sk, const struct sonde_tag *tag)
{
	if (tag->flags & TAG_RST_RECEIVED)
		return SONDE_TCP_CLOSE_REMOTE_RST;
	if (sk->sk_err && sk->sk_err != ERR_CONNABORTED)
		return SONDE_TCP_CLOSE_ERROR;
	return SONDE_TCP_CLOSE_LOCAL_RST;
}

/*
 * At -> CLOSE, under the socket's lock. A retransmit whose run was skipped has no
 * kind, but is one. And a seed reads the byte counter and the sequence number one
 * after the other, with no lock: what came between them would pass for a reset of
 * the counters, which is looked for from now on, so the two are made to agree.
 */
static __always_inline void settle_accounts(struct sock *sk, struct sonde_tag *tag)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u32 flags = tag->flags;

	if (!tp)
		return;
	if (tag->role == SONDE_TCP_ROLE_CLIENT || flags & TAG_HAS_BASE)
		count_retransmit(tag, tp, SONDE_TCP_RETRANSMIT_OTHER);
	if (flags & TAG_HAS_BASE)
		tag->received_raw0 += (__s32)((__u32)(tp->bytes_received - tag->received_raw0) -
					      (tp->rcv_nxt - tag->arrived_seq0));
}

/* Where the first FIN's event was not seen (see make_up()), the state before says whose it was. */
static __always_inline __u32 first_closer(const struct sock *sk, const struct sonde_tag *tag,
					  int old)
{
	if (tag->closer)
		return tag->closer - 1;
	switch (old) {
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
		return SONDE_TCP_CLOSE_LOCAL_FIN;
	case TCP_CLOSING:
		return SONDE_TCP_CLOSE_BOTH;
	case TCP_CLOSE_WAIT:
	case TCP_LAST_ACK:
		return SONDE_TCP_CLOSE_REMOTE_FIN;
	default:
		return abrupt_closer(sk, tag);
	}
}

/* @fin: of write_seq. 0 before our FIN is queued: then it is the end of the payload; else 1. */
static __always_inline void payload_ends(struct sock *sk, struct sonde_tag *tag, __u32 fin)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (!tp || tag->flags & TAG_FIN_SENT)
		return;
	tag->sent_end = tp->write_seq - fin;
	__sync_fetch_and_or(&tag->flags, TAG_FIN_SENT);
}

static __always_inline bool has_sent_fin(__u32 state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING ||
	       state == TCP_LAST_ACK;
}

/* Return: true the first time. What the socket counted is to be folded then. */
static __always_inline bool count_end(struct sock *sk, struct sonde_tag *tag, int old)
{
	__u32 before = __sync_fetch_and_or(&tag->flags, TAG_CLOSED);
	__u32 closer;

	if (before & TAG_CLOSED)
		return false;
	flow_closed(tag);
	/* Without a FIN too the payload ends here: tcp_disconnect() moves write_seq on before it zeroes the rest. */
	payload_ends(sk, tag, has_sent_fin(old));
	if (before & TAG_ESTABLISHED) {
		closer = first_closer(sk, tag, old);
		tag->closer = closer + 1;
		count_close(tag, closer);
	} else if (tag->role == SONDE_TCP_ROLE_CLIENT) {
		connect_failed(sk, tag);
	}
	settle_accounts(sk, tag);
	tuple_leave(tag);
	return true;
}

/*
 * Folded not only at its end: the application may keep the socket and tcp_disconnect()
 * it, which zeroes what we read, and the run at its end may be skipped.
 */
static __always_inline void closed(struct sock *sk, struct sonde_tag *tag, int old)
{
	if (count_end(sk, tag, old))
		fold(sk, tag, false);
}

/*
 * It is closed, and the tag does not know: the event looked for the tag before a seed
 * made it, and what the seed read may be from behind the end. Nothing of it was
 * counted yet, and nothing will be: it was not open when the seed met it.
 */
static __always_inline bool ended_before_seed(struct sonde_tag *tag)
{
	return !(tag->flags & TAG_CLOSED) &&
	       __sync_fetch_and_and(&tag->flags, ~TAG_SEED_WAITS) & TAG_SEED_WAITS;
}

/*
 * The end of an established connection whose events were not seen, at a snapshot: an
 * event comes before the state that it tells of is stored, so a state without our
 * mark is one. Not for a connect: its tag is made before the old CLOSE is overwritten.
 * Return: 0, or 1 when the tag is to be taken off.
 */
static __noinline int make_up_end(struct sock *sk, struct sonde_tag *tag)
{
	__u32 state = *(volatile unsigned char *)&sk->__sk_common.skc_state; /* before the flags */
	__u32 flags = *(volatile __u32 *)&tag->flags;

	if (!(flags & TAG_ESTABLISHED) || flags & TAG_CLOSED)
		return 0;
	if (has_sent_fin(state))
		payload_ends(sk, tag, 1);
	if (state != TCP_CLOSE)
		return 0;
	if (ended_before_seed(tag))
		return 1;
	count_end(sk, tag, TCP_ESTABLISHED); /* the snapshot folds */
	return 0;
}

static __always_inline void half_closed(const struct sock *sk, struct sonde_tag *tag)
{
	struct sonde_tcp_cell *cell;
	__u32 index;

	if (sk->sk_shutdown == SHUTDOWN_BOTH ||
	    __sync_fetch_and_or(&tag->flags, TAG_HALF_COUNTED) & TAG_HALF_COUNTED)
		return;
	cell = tag_cell(tag, &index);
	if (cell)
		add(&cell->half_closed, 1);
}

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
