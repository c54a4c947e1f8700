/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The kernel's own words, read apart from the collector: what nstat, ss -ti and nft print. */

#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDS_TEXT_MAX 16384

/* /proc/net/snmp, netstat and snmp6 of a network namespace at one time. */
struct words {
	char text[2 * WORDS_TEXT_MAX];
};

/* @netns_fd: -1 = this thread's. A failed test when they cannot be read. */
void words_read(int netns_fd, struct words *ret);
/* As nstat names it: "TcpRetransSegs", "TcpExtTCPOFOQueue". A failed test when this kernel has none. */
uint64_t words_get(const struct words *words, const char *name);
bool words_has(const struct words *words, const char *name);
/* Growth between two readings. */
uint64_t words_grown(const struct words *from, const struct words *to, const char *name);

struct tcp_info words_tcp_info(int fd);
