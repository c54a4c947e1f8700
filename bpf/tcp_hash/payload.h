/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * From a reading of a socket to what it counted since its base: payload without SYN
 * and FIN, by sequence numbers; the kernel's 64-bit counters only say which lap of
 * 2^32 it is, so a reading between two of the kernel's stores is never wrong by more
 * than what moved in between. Arithmetic only: the kernel side does it for those
 * that end, user space for those that live.
 */
#include "bpf/tcp_hash/tcp_hash_private.h"

struct sonde_hash_counts {
	__u64 sent;
	__u64 acked;
	__u64 received;
	__u64 arrived;
	__u32 segments_out;
	__u32 segments_in;
	__u32 retrans;
	__u32 pad;
};

/* The number nearest to @about whose low 32 bits are @low. */
static inline __attribute__((__always_inline__)) __u64 sonde_hash_nearest(__u64 about, __u32 low)
{
	return about + (__u64)(__s64)(__s32)(low - (__u32)about);
}

static inline __attribute__((__always_inline__)) __u64 sonde_hash_not_negative(__u64 n)
{
	return (__s64)n < 0 ? 0 : n;
}

static inline __attribute__((__always_inline__)) void sonde_hash_payload(
	const struct sonde_hash_reading *now, const struct sonde_hash_base *base, __u32 flags,
	struct sonde_hash_counts *ret)
{
	__u64 acked = now->bytes_acked - base->acked_raw;
	__u64 arrived = now->bytes_received - base->received_raw;
	__u32 sent_seq = now->write_seq, acked_seq = now->snd_una;
	__u32 arrived_seq = now->rcv_nxt - now->fin_arrived, received_seq = now->copied_seq;

	if (flags & SONDE_HASH_FIN_SENT) {
		sent_seq = base->sent_end;
		if ((__s32)(acked_seq - sent_seq) > 0)
			acked_seq = sent_seq;
	}
	if (now->fin_arrived && (__s32)(received_seq - arrived_seq) > 0)
		received_seq = arrived_seq;
	ret->acked =
		sonde_hash_not_negative(sonde_hash_nearest(acked, acked_seq - base->acked_seq));
	ret->sent = sonde_hash_not_negative(sonde_hash_nearest(
		acked + (sent_seq - acked_seq) - (base->sent_seq - base->acked_seq),
		sent_seq - base->sent_seq));
	ret->arrived = sonde_hash_not_negative(
		sonde_hash_nearest(arrived, arrived_seq - base->arrived_seq));
	ret->received = sonde_hash_not_negative(sonde_hash_nearest(
		arrived - (arrived_seq - received_seq) + (base->arrived_seq - base->received_seq),
		received_seq - base->received_seq));
}

static inline __attribute__((__always_inline__)) void sonde_hash_count(
	const struct sonde_hash_reading *now, const struct sonde_hash_base *base, __u32 flags,
	struct sonde_hash_counts *ret)
{
	ret->sent = 0;
	ret->acked = 0;
	ret->received = 0;
	ret->arrived = 0;
	ret->pad = 0;
	if (flags & SONDE_HASH_ESTABLISHED)
		sonde_hash_payload(now, base, flags, ret);
	ret->segments_out = now->segments_out - base->segments_out;
	ret->segments_in = now->segments_in - base->segments_in;
	ret->retrans = now->retrans - base->retrans;
}

/*
 * What the application read after -> CLOSE. 0 once tcp_disconnect() has zeroed the
 * counters: then there is nothing to compare with.
 */
static inline __attribute__((__always_inline__)) __u64 sonde_hash_rest(
	const struct sonde_hash_reading *now, const struct sonde_hash_base *base, __u32 flags)
{
	__u32 end = now->rcv_nxt - now->fin_arrived, read = now->copied_seq;
	__s32 more;

	if (!(flags & SONDE_HASH_ESTABLISHED) || now->bytes_received != base->rest_raw)
		return 0;
	if ((__s32)(read - end) > 0)
		read = end;
	more = (__s32)(read - base->rest_seq);
	return more > 0 ? (__u64)more : 0;
}
