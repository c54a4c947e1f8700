/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Net counters: what the kernel counts in one network namespace, all its sockets
 * together (nstat's numbers), out of /proc/PID/net. Anyone may read them of any
 * process. Whole files or nothing, fixed bounds. No state, any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum sonde_net_counter {
#define SONDE_NET_COUNTER(group, name) SONDE_NET_##group##_##name,
#include "host/net-counters.def"
#undef SONDE_NET_COUNTER
	_SONDE_NET_COUNTER_MAX,
};

struct sonde_net_counters {
	bool known[_SONDE_NET_COUNTER_MAX]; /* a kernel may not have one, nor IPv6 at all */
	uint64_t value[_SONDE_NET_COUNTER_MAX];
};

#define SONDE_NET_COUNTERS_FILE_MAX 32768 /* longest of the three that is read */

/* "TcpRetransSegs". */
const char *sonde_net_counter_name(enum sonde_net_counter c);

/*
 * The number that tells the namespace of @pid from others as long as it lives: what each sees under /proc/PID/net are
 * files of its own. Return: 0, -ESRCH, -errno.
 */
int sonde_net_counters_namespace(int proc_fd, uint32_t pid, uint64_t *ret) _must_check_;

/* Return: 0, -ESRCH, -EBADMSG (not understood), -EMSGSIZE, -errno. Without IPv6 its counters are not known. */
int sonde_net_counters_read(int proc_fd, uint32_t pid, struct sonde_net_counters *ret) _must_check_;

/*
 * The parsers alone; they add to what is known. snmp and netstat are pairs of lines, names and then numbers; snmp6 is a name
 * and a number a line. What is not in the list is passed over. Return: 0, -EBADMSG.
 */
int sonde_net_counters_parse_pairs(const char *text, size_t n,
				   struct sonde_net_counters *c) _must_check_;
int sonde_net_counters_parse_list(const char *text, size_t n,
				  struct sonde_net_counters *c) _must_check_;
