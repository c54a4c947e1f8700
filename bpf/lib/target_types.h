/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Targets, as a collector's kernel side and its user side share them. */
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* Target table, by pid. Exited processes stay until their last task is removed. */
enum sonde_tcp_target_state {
	SONDE_TCP_TARGET_LIVE = 0,
	SONDE_TCP_TARGET_FORKED = 1, /* came in mid-task */
	SONDE_TCP_TARGET_EXITED =
		2, /* its pid may belong to somebody else by now: matches nothing */
};
struct sonde_tcp_target {
	__u64 task_mask;
	__u32 root_pid;
	__u32 state;
	__u32 seeded; /* generation of the first seed that met it or its parent; 0 = none yet */
	__u32 pad;
};
