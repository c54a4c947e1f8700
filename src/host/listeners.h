/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Listeners: every listening TCP port of every process, in every network
 * namespace that a process of this /proc is in, without entering any: the
 * tables are read through /proc/PID/net of one process a namespace, and matched
 * with the socket inodes of all processes' descriptors. A socket that several
 * processes hold (a master and its workers) is listed once for each.
 *
 * Every bound is in the struct; what is beyond it is counted, so that the
 * caller can say that the list is not whole.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct sonde_listener {
	uint64_t netns; /* net cookie; 0 = not known (kernel before 5.14, descriptor refused) */
	uint32_t netns_inode;
	uint32_t pid;
	uint16_t port;	  /* host order */
	uint16_t family;  /* AF_INET, AF_INET6 */
	uint8_t addr[16]; /* network order, IPv4 as ::ffff:a.b.c.d; all zero = any */
};

struct sonde_listeners_limits {
	size_t processes;
	size_t fds_a_process;
	size_t fds; /* of all processes together */
	size_t namespaces;
	size_t sockets;	  /* listening sockets of all namespaces together */
	size_t listeners; /* in the result */
};
extern const struct sonde_listeners_limits sonde_listeners_limits_default;

struct sonde_listeners_cut {
	uint64_t processes; /* 1: there are more than the limit */
	uint64_t fds;	    /* not looked at */
	uint64_t namespaces;
	uint64_t sockets;    /* listening, but over the limit */
	uint64_t listeners;  /* descriptors of listening sockets that had no room */
	uint64_t unreadable; /* processes whose descriptors may not be read */
};

/*
 * @limits: NULL = the default. *@ret: to be freed, NULL while *@ret_n is 0. Return: 0, -ENOMEM, -errno of /proc.
 */
int sonde_listeners_scan(int proc_fd, const struct sonde_listeners_limits *limits,
			 struct sonde_listener **ret, size_t *ret_n,
			 struct sonde_listeners_cut *ret_cut) _must_check_;

/* A line of net/tcp or net/tcp6. */
struct sonde_listeners_line {
	uint64_t inode;
	uint8_t addr[16];
	uint16_t port;
	uint8_t state; /* 10 = TCP_LISTEN */
};
/* @family says how long the address is. Return: 0, -EBADMSG. */
int sonde_listeners_parse_line(const char *line, uint16_t family,
			       struct sonde_listeners_line *ret) _must_check_;
