/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* How a connection ends: who closed first, what a connect failed by, and that each is counted once. */

#define SHUTDOWN_BOTH 3 /* RCV_SHUTDOWN | SEND_SHUTDOWN */

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
