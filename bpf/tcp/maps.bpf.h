/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Maps and settings. Sizes marked 1 are set by user space between open and load. */

const volatile __u32 sonde_jiffy_us = 1000; /* set by user space: 1,000,000 / HZ */

__u64 sonde_epoch = 1; /* of the running snapshot: gauges with another number are old */
__u32 sonde_seed_pass;
__u32 sonde_seed_generation;
__u32 sonde_seed_learnt; /* the last generation of which LEARN is complete */
__u32 sonde_snapshot_mode;
__u64 sonde_seeded;	   /* sockets tagged by seeding */
__u64 sonde_begun;	   /* connections that we began to follow */
__u64 sonde_ended;	   /* of those, ended under our eyes, or released */
__u64 sonde_alive;	   /* of those, still followed: of one snapshot */
bool sonde_probe_wanted;   /* a socket has no other source of RTT samples than tcp_probe */
bool sonde_probe_attached; /* set by user space */
bool sonde_rtt_unasked; /* … no task wants RTT samples; sockops may be there for other reasons */
__u32 sonde_settling;	/* … SONDE_TCP_SETTLE_* */

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct sonde_tag);
} sonde_tags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_hist);
} sonde_rtt SEC(".maps");

const volatile struct sonde_tcp_hist sonde_empty_hist = {};

/* By cell * SONDE_TCP_SPARSE_MAX + which of them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_hist);
} sonde_sparse SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sonde_tcp_age);
} sonde_age SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct sonde_tcp_drop_key);
	__type(value, struct sonde_tcp_drop_slot);
} sonde_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct sonde_tcp_tuple);
	__type(value, struct sonde_tcp_end);
} sonde_tuples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct sonde_tcp_listener_key);
	__type(value, __u32); /* generation of the seed that met it */
} sonde_listeners SEC(".maps");
