/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Connect: a TCP connection to a host by name or address, without blocking the
 * loop. An address is used as it is; a name is resolved on a short-lived thread (the C library offers no
 * other way), at most SONDE_CONNECT_THREADS_MAX of them a process. The addresses are tried in order
 * until the time-out of the whole. Loop thread only.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"

#define SONDE_CONNECT_THREADS_MAX 4

struct sonde_connect;

/* @fd >= 0: connected, non-blocking, the callee's; else -errno. Free the attempt here or later. */
typedef void (*sonde_connect_fn)(void *ctx, int fd);

/* @fn runs once, never before this returns. Return: 0, -ENOMEM, -EBUSY (threads), -errno. */
int sonde_connect_new(sd_event *event, const char *host, uint16_t port, uint64_t timeout_ns,
		      sonde_connect_fn fn, void *ctx, struct sonde_connect **ret) _must_check_;

/* Gives up; @fn no longer runs. NULL is fine. Returns NULL. */
struct sonde_connect *sonde_connect_free(struct sonde_connect *c);
SONDE_DEFINE_CLEANUP(struct sonde_connect *, sonde_connect_free)
