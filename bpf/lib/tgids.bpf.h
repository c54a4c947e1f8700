/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Tgids: one bit for each process of the machine, by its number in the first PID
 * namespace, that says: a target perhaps. For hooks where every process comes by,
 * and next to none is one: a look at the target table would cost them ten times this.
 */

#define SONDE_TGID_WORDS 65536 /* of 64 bits: 4,194,304 numbers, PID_MAX_LIMIT */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SONDE_TGID_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} sonde_tgids SEC(".maps");

static __always_inline __u64 *tgid_word(__u32 tgid)
{
	__u32 word = tgid >> 6;

	return bpf_map_lookup_elem(&sonde_tgids, &word);
}

static __always_inline void mark_tgid(__u32 tgid)
{
	__u64 *word = tgid_word(tgid);

	if (word)
		__sync_fetch_and_or(word, 1ULL << (tgid & 63));
}

/* At the end of any process: most have no bit. */
static __always_inline void unmark_tgid(__u32 tgid)
{
	__u64 *word = tgid_word(tgid);

	if (word && *word & 1ULL << (tgid & 63))
		__sync_fetch_and_and(word, ~(1ULL << (tgid & 63)));
}

/* False: the current process is no target. True: ask current_target(). Task context only. */
static __always_inline bool maybe_target(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u64 *word = tgid_word(tgid);

	return word && *word & 1ULL << (tgid & 63);
}
