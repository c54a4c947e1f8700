/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/*
 * Late: a server may read a client's first datagram before the send that brought it
 * has returned, so before the client has entered its end. It counts it in the cell of
 * the client's address, which has no peer. As long as everything in such a cell is of
 * ends that one process has entered since, the cell is that process's: user space
 * tells it with `owner` as its peer, and one edge has one row. Nothing is moved, so
 * nothing counts twice or goes backwards. An end that nobody enters, or a second
 * process, makes it the address's for good.
 *
 * It costs the hot path nothing but for a server whose client is no target: one look
 * at the cell's `sole`.
 */

#define END_MANY (1U << 16) /* a cell's `sole`: beyond the ports */

struct udp_late {
	__u64 since_ns;
	__u64 cookie; /* of the server's socket */
	__u32 pid;    /* server */
	__u32 cell;
};

/* The ends that cells wait for: one a cell. What is not entered goes as the oldest. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct udp_end);
	__type(value, struct udp_late);
} sonde_late SEC(".maps");

static __always_inline void name_flow(const struct udp_late *late, const struct udp_end *end,
				      __u32 pid);

static __always_inline void own_cell(struct sonde_udp_slot *slot, __u32 port, __u32 pid)
{
	__u32 owner;

	if (*(volatile __u32 *)&slot->sole != port)
		return;
	owner = __sync_val_compare_and_swap(&slot->owner, 0, pid);
	/* The owner before `sole`, as user space reads them in the other order. */
	__sync_val_compare_and_swap(&slot->sole, port, !owner || owner == pid ? 0 : END_MANY);
}

/* @end is @pid's from now on: so is what was read from it before. */
SHARED int name_late(struct udp_end *end, __u32 pid)
{
	struct sonde_udp_slot *slot;
	struct udp_late *found, late;
	struct udp_end key;

	if (!end)
		return 0;
	key = *end; /* before 6.2 no helper takes the memory that a global function was given */
	key.unknown = 0;
	found = bpf_map_lookup_elem(&sonde_late, &key);
	if (!found)
		return 0;
	late = *found;
	bpf_map_delete_elem(&sonde_late, &key);
	if (bpf_ktime_get_ns() - late.since_ns > SONDE_UDP_LATE_NS)
		return 0;
	slot = bpf_map_lookup_elem(&sonde_cells, &late.cell);
	if (slot)
		own_cell(slot, key.port, pid);
	name_flow(&late, &key, pid);
	return 0;
}

/* Whether share_unnamed() has nothing to do: mostly so. From port 0, which nobody can enter, comes what is nobody's. */
static __always_inline bool is_shared(const struct sonde_udp_slot *slot, const struct udp_end *end)
{
	__u32 sole = *(volatile __u32 *)&slot->sole;

	return (sole && sole == end->port) || sole == END_MANY;
}

/*
 * The server @pid is about to count something of @end, which nobody had entered, in its cell at @index, which has no
 * peer. @cookie: of its socket. Return: the pid that has entered it since we looked, and has not found this; else 0.
 */
SHARED __u32 share_unnamed(struct udp_end *end, __u32 index, __u32 pid, __u64 cookie)
{
	struct udp_late late = {.cookie = cookie, .pid = pid, .cell = index};
	struct sonde_udp_slot *slot = bpf_map_lookup_elem(&sonde_cells, &index);
	struct udp_end key;
	__u32 sole;

	if (!slot || !end)
		return 0;
	key = *end;
	key.unknown = 0;
	sole = *(volatile __u32 *)&slot->sole;
	if (sole && __sync_val_compare_and_swap(&slot->sole, sole, END_MANY) == sole)
		return 0;
	/* Vacant, or it is by now: the one that it waited for has come. */
	if (!sonde_ends_kept || __sync_val_compare_and_swap(&slot->sole, 0, key.port ?: END_MANY)) {
		__sync_lock_test_and_set(&slot->sole, END_MANY);
		return 0;
	}
	late.since_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&sonde_late, &key, &late, BPF_ANY);
	return end_owner(&key);
}
